import ArgumentParser
import ControlAPI
import Glibc
import GuestModel

struct DebugCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug",
        abstract: "Replaces itself by gdb or lldb, attached to a sandbox, symbols loaded.",
        discussion: """
            Uses the sandbox's Unix socket when you may, else its TCP address; lldb knows only \
            TCP, so it needs debug.port in the configuration. Leaving the debugger lets the guest run on (see debug.onDisconnect in the configuration). A sandbox has one \
            debugger at a time: exit code 75 when somebody else is there, unless --take-over sends \
            them away.

            EXAMPLES
              hyperlight-ctl debug counter
              hyperlight-ctl debug counter -x breakpoints.gdb
              hyperlight-ctl debug counter --print
              hyperlight-ctl debug --take-over counter
              hyperlight-ctl debug --lldb counter
              hyperlight-ctl debug counter -- -batch -ex bt
            """)

    @OptionGroup var sandbox: SandboxArgument

    @Option(
        name: .customShort("x"),
        help: ArgumentHelp(
            "File of the debugger's commands, run once attached.", valueName: "file"))
    var scripts: [String] = []

    @Flag(name: .customLong("lldb"), help: "Run lldb instead of gdb.")
    var isLLDB = false

    @Flag(name: .customLong("print"), help: "Print the command instead of running it.")
    var isPrinting = false

    @OptionGroup var takeOver: TakeOverOption

    @Argument(parsing: .postTerminator, help: "Further arguments for the debugger, after --.")
    var arguments: [String] = []

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let name = try sandbox.checkedName()
            let connection = try options.connection()
            let details = try await connection.debuggableDetails(of: name)
            let command = try DebuggerCommand(
                details, debugger: isLLDB ? .lldb : .gdb, scripts: scripts, arguments: arguments,
                isUsableSocket: SocketFile.isUsable)
            guard !isPrinting else { return Output.write(command.shellText + "\n") }
            try await connection.makeRoom(in: details.status, name, takeOver)
            try ProgramReplacement.replace(
                with: command.words, named: isLLDB ? Self.lldbNames : ["gdb"])
        }
    }
}

extension DebugCommand {
    /// Debian has no `lldb` but one with its version.
    fileprivate static let lldbNames = ["lldb"] + (14...22).reversed().map { "lldb-\($0)" }
}

/// Turning this process into another program.
enum ProgramReplacement {
    /// Runs the first of the programs `names` that is there, with the arguments in `words` behind
    /// the first; returns only by throwing.
    static func replace(with words: [String], named names: [String]) throws(Failure) {
        // This thread belongs to a pool whose threads block signals, and the mask outlives
        // `execvp`: without this, Ctrl-C would never reach gdb.
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        signal(SIGPIPE, SIG_DFL)
        var pointers = words.map { strdup($0) }
        pointers.append(nil)
        defer { pointers.forEach { free($0) } }
        for name in names {
            execvp(name, pointers)
            let code = errno
            guard code == ENOENT else {
                throw .cannotRun(name, String(cString: strerror(code)))
            }
        }
        let name = names.first ?? ""
        throw .cannotRun(name, "not found; install it: sudo apt install \(name)")
    }
}
