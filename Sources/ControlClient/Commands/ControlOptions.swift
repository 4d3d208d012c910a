import ArgumentParser
import FoundationEssentials
import Glibc
import SandboxConfig

/// Options of every verb.
struct ControlOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Control socket of the supervisor.",
            discussion: """
                Else HYPERLIGHT_SOCKET, else control.sock in RUNTIME_DIRECTORY, in /run/hyperlight \
                (root) or in XDG_RUNTIME_DIR/hyperlight.
                """, valueName: "path"))
    var socket: String?

    func connection() throws(Failure) -> ControlConnection {
        let environment = ProcessInfo.processInfo.environment
        return ControlConnection(
            socketPath: try Self.socketPath(
                option: socket, environment: environment, isRoot: geteuid() == 0))
    }

    /// The command line wins over the environment, which wins over the default.
    static func socketPath(
        option: String?, environment: [String: String], isRoot: Bool
    ) throws(Failure) -> String {
        if let option { return option }
        if let path = environment["HYPERLIGHT_SOCKET"], !path.isEmpty { return path }
        guard let folder = RuntimeFolder(environment: environment, isRoot: isRoot) else {
            throw .noSocketPath(["HYPERLIGHT_SOCKET"] + RuntimeFolder.variables)
        }
        return folder.controlSocket
    }
}

/// How an answer is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json
}

/// Runs a verb: prints what went wrong and turns it into the exit code.
func reportingFailure(_ body: () async throws(Failure) -> Void) async throws {
    do throws(Failure) {
        try await body()
    } catch {
        error.report()
        throw ExitCode(error.exitCode)
    }
}

extension Failure {
    /// Says on standard error what went wrong.
    func report() {
        guard let text else { return }
        // The supervisor's words may hold a guest's.
        Output.write("hyperlight-ctl: \(TextTable.printable(text))\n", to: STDERR_FILENO)
    }
}
