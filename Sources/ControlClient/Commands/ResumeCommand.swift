import ArgumentParser
import ControlAPI
import GuestModel

struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Releases a guest that is held for its first debugger, or that has crashed.",
        discussion: """
            Exit code 75 when there is nothing to resume, 3 when the sandbox does not run.

            EXAMPLES
              hyperlight-ctl resume counter
            """)

    @OptionGroup var sandbox: SandboxArgument
    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let name = try sandbox.checkedName()
            let status = try await options.connection().change(.resume(name))
            Output.write("\(status.name)  \(status.state.rawValue)\n")
        }
    }
}

struct StubCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stub", abstract: "Handles debug stubs.",
        subcommands: [StubRestartCommand.self])
}

struct StubRestartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract: "Replaces the debug stub of a sandbox; the guest does not notice.",
        discussion: """
            An attached debugger is disconnected and can attach again at the same address.

            EXAMPLES
              hyperlight-ctl stub restart counter
            """)

    @OptionGroup var sandbox: SandboxArgument
    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let name = try sandbox.checkedName()
            let status = try await options.connection().change(.restartStub(name))
            Output.write("\(status.name)  debug \(status.debug.state.rawValue)\n")
        }
    }
}

extension ControlConnection {
    /// Sends a wish; one that needs a sandbox which runs has its own exit code when it does not.
    func change(_ route: ControlRoute) async throws(Failure) -> SandboxStatus {
        do throws(Failure) {
            return try await value(of: route)
        } catch {
            guard route.needsRunning, case .refused(let problem) = error,
                problem.code == .conflict, let name = problem.sandbox
            else { throw error }
            let all = try await list()
            // A crashed guest that is kept is there, although it does not run.
            guard let status = all.first(where: { $0.name == name }), !status.state.isAlive,
                status.state != .crashed
            else { throw error }
            throw .notRunning(["\(name) (\(problem.detail))"])
        }
    }
}

extension ControlRoute {
    /// Whether the wish is for a sandbox that runs.
    fileprivate var needsRunning: Bool {
        switch self {
        case .resume, .stop, .kill, .restartStub, .takeOver: true
        case .list, .details, .start, .restart: false
        }
    }
}
