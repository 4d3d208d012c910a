import ArgumentParser
import ControlAPI
import Glibc
import GuestModel

struct DebugCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug",
        abstract: "Replaces itself by gdb, attached to a sandbox, symbols loaded.",
        discussion: """
            Uses the sandbox's Unix socket when you may, else its TCP address. Leaving gdb lets \
            the guest run on (see debug.onDisconnect in the configuration). A sandbox has one \
            debugger at a time: exit code 75 when somebody else is there, unless --take-over sends \
            them away.

            EXAMPLES
              hyperlight-ctl debug counter
              hyperlight-ctl debug counter -x breakpoints.gdb
              hyperlight-ctl debug counter --print
              hyperlight-ctl debug --take-over counter
              hyperlight-ctl debug counter -- -batch -ex bt
            """)

    @OptionGroup var sandbox: SandboxArgument

    @Option(
        name: .customShort("x"),
        help: ArgumentHelp("File of gdb commands, run once attached.", valueName: "file"))
    var scripts: [String] = []

    @Flag(name: .customLong("print"), help: "Print the gdb command instead of running it.")
    var isPrinting = false

    @OptionGroup var takeOver: TakeOverOption

    @Argument(parsing: .postTerminator, help: "Further arguments for gdb, after --.")
    var arguments: [String] = []

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let name = try sandbox.checkedName()
            let connection = try options.connection()
            let details = try await connection.debuggableDetails(of: name)
            let command = try DebuggerCommand(
                details, scripts: scripts, arguments: arguments,
                isUsableSocket: SocketFile.isUsable)
            guard !isPrinting else { return Output.write(command.shellText + "\n") }
            try await connection.makeRoom(in: details.status, name, takeOver)
            try ProgramReplacement.replace(with: command.words)
        }
    }
}

/// Turning this process into another program.
enum ProgramReplacement {
    /// Returns only by throwing.
    static func replace(with words: [String]) throws(Failure) {
        guard let program = words.first else { return }
        // This thread belongs to a pool whose threads block signals, and the mask outlives
        // `execvp`: without this, Ctrl-C would never reach gdb.
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        signal(SIGPIPE, SIG_DFL)
        var pointers = words.map { strdup($0) }
        pointers.append(nil)
        execvp(program, pointers)
        let code = errno
        pointers.forEach { free($0) }
        throw .cannotRun(
            program,
            code == ENOENT
                ? "not found; install it: sudo apt install gdb"
                : String(cString: strerror(code)))
    }
}
