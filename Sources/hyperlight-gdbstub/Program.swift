// hyperlight-gdbstub: the gdb server of one sandbox. Started by the supervisor only; all of it is in
// the target Stub.

import Glibc
import Stub

@main
struct Program {
    static func main() {
        exit(StubProgram.run(arguments: CommandLine.arguments).rawValue)
    }
}
