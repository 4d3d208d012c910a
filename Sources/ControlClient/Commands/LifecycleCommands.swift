import ArgumentParser
import ControlAPI
import Glibc
import GuestModel

struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Starts sandboxes that do not run, also disabled ones.",
        discussion: """
            What went wrong before is forgiven: a sandbox that has failed is tried again. Exit \
            code 75 when one runs already.

            EXAMPLES
              hyperlight-ctl start counter
              hyperlight-ctl start --all
            """)

    @OptionGroup var sandboxes: SandboxArguments
    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await options.changeEach(sandboxes) { .start($0) }
    }
}

struct StopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "Ends sandboxes; they stay stopped until they are started again.",
        discussion: """
            A debugger is let go first, then the guest. Each has 5 s, then it is killed. \
            Exit code 3 when one does not run.

            EXAMPLES
              hyperlight-ctl stop counter wasm
              hyperlight-ctl stop --now counter
            """)

    @Flag(help: "Kill the worker at once.")
    var now = false

    @OptionGroup var sandboxes: SandboxArguments
    @OptionGroup var options: ControlOptions

    func run() async throws {
        let now = now
        try await options.changeEach(sandboxes) { now ? .kill($0) : .stop($0) }
    }
}

struct RestartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract:
            "Ends sandboxes politely and starts them again, with the guest image as it is now.",
        discussion: """
            A sandbox that does not run is started. A guest that the configuration holds for a \
            debugger is held again.

            EXAMPLES
              hyperlight-ctl restart counter
            """)

    @OptionGroup var sandboxes: SandboxArguments
    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await options.changeEach(sandboxes) { .restart($0) }
    }
}

/// The sandboxes that a verb is for: names, or all.
struct SandboxArguments: ParsableArguments {
    @Argument(help: "Names of sandboxes.")
    var names: [String] = []

    @Flag(help: "Every sandbox of the configuration.")
    var all = false

    func validate() throws {
        guard names.isEmpty == all else {
            throw ValidationError("name sandboxes, or say --all")
        }
    }
}

extension ControlOptions {
    /// Sends one wish for each sandbox.
    ///
    /// All are tried; the worst exit code is the program's.
    fileprivate func changeEach(
        _ sandboxes: SandboxArguments, _ route: (SandboxName) -> ControlRoute
    ) async throws {
        var worst: Int32 = 0
        try await reportingFailure { () async throws(Failure) in
            let connection = try connection()
            let known = try await connection.list()
            for name in sandboxes.all ? known.map(\.name) : sandboxes.names {
                do throws(Failure) {
                    guard let checked = SandboxName(name) else { throw .unknownSandboxes([name]) }
                    let status = try await connection.change(route(checked))
                    Output.write("\(status.name)  \(status.state.rawValue)\n")
                } catch {
                    error.report()
                    worst = max(worst, error.exitCode)
                }
            }
        }
        guard worst == 0 else { throw ExitCode(worst) }
    }
}
