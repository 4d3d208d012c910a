import ArgumentParser
import ControlAPI
import Glibc
import GuestModel
import LinuxSystem

struct GDBPipeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gdb-pipe",
        abstract: "Connects gdb to a sandbox over standard input and output.",
        discussion: """
            For gdb's "target remote | COMMAND", also from another machine. Prints nothing but \
            what gdb's protocol says; what goes wrong stands on standard error, which gdb shows.

            EXAMPLES
              gdb -ex 'target remote | hyperlight-ctl gdb-pipe counter'
              gdb -ex 'target remote | ssh -T HOST hyperlight-ctl gdb-pipe counter'
            """)

    @OptionGroup var sandbox: SandboxArgument
    @OptionGroup var takeOver: TakeOverOption
    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            guard isatty(STDIN_FILENO) == 0, isatty(STDOUT_FILENO) == 0 else {
                throw .usage(
                    "gdb-pipe carries gdb's protocol, which a terminal would change; use it as "
                        + "\"target remote | hyperlight-ctl gdb-pipe NAME\" in gdb "
                        + "(ssh -T, and no -t for kubectl and podman)")
            }
            let name = try sandbox.checkedName()
            let connection = try options.connection()
            let details = try await connection.debuggableDetails(of: name)
            let target = try DebugTarget(details.status, isUsableSocket: SocketFile.isUsable)
            try await connection.makeRoom(in: details.status, name, takeOver)
            try Self.relay(to: try DoorConnection.open(target, of: name.text))
        }
    }

    /// Ctrl-C needs no care: gdb starts its pipes in sessions of their own, where the terminal's signal
    /// does not come, and asks the guest to stop with a byte of its protocol.
    private static func relay(to connection: consuming OwnedDescriptor) throws(Failure) {
        signal(SIGPIPE, SIG_IGN)
        var relay = PipeRelay(
            input: STDIN_FILENO, output: STDOUT_FILENO, connection: connection)
        switch relay.run() {
        case .finished, .outputClosed: return
        case .outputFailed(let error): throw .system("standard output: \(error)")
        }
    }
}
