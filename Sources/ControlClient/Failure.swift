package import ControlAPI

/// Every way a verb can fail; has the sentence and the exit code.
package enum Failure: Error, Hashable, Sendable {
    /// Nobody listens at the path; the second text is the system's reason.
    case notReachable(String, String)
    /// The socket refuses us; the second text says whose it is.
    case notPermitted(String, String?)
    /// Something answered, but not as a supervisor should.
    case badAnswer(String, String)
    /// The supervisor said no.
    case refused(Problem)
    /// The sandboxes are known but do not run.
    case notRunning([String])
    case unknownSandboxes([String])
    /// This sandbox cannot be debugged; the second text says why.
    case notDebuggable(String, String)
    /// Somebody else debugs this sandbox; the second text is who.
    case occupied(String, String)
    /// No runtime folder is known, so neither is the socket.
    case noSocketPath([String])
    /// A file is there already, and is left alone.
    case fileExists(String)
    /// A file or folder could not be made; the second text is the system's reason.
    case cannotCreate(String, String)
    /// A program could not be started.
    case cannotRun(String, String)
    /// The system refused something, in words.
    case system(String)
    /// Something outside the rules, in words.
    case usage(String)
    /// The doctor found something that fails; all was printed already.
    case checksFailed

    /// The numbers are an interface; they follow `sysexits.h` and `systemctl`.
    package var exitCode: Int32 {
        switch self {
        case .checksFailed: 1
        case .notRunning: 3
        case .unknownSandboxes: 4
        case .usage: 64
        case .notReachable, .badAnswer, .notDebuggable, .cannotRun: 69
        case .system: 71
        case .noSocketPath, .fileExists, .cannotCreate: 73
        case .occupied: 75
        case .notPermitted: 77
        case .refused(let problem):
            switch problem.code {
            case .unknownSandbox: 4
            case .badRequest, .unknownRoute, .methodNotAllowed, .tooLarge: 70
            case .conflict: 75
            case .unavailable: 69
            case .internalError: 70
            }
        }
    }

    /// One or two lines for a person; nil when everything was said already.
    package var text: String? {
        switch self {
        case .checksFailed:
            nil
        case .notReachable(let path, let reason):
            "no supervisor answers at \(path) (\(reason)); is hyperlight-supervisor running? "
                + "(see --socket)"
        case .notPermitted(let path, let owner):
            "not permitted to use \(path)" + (owner.map { " (\($0))" } ?? "")
                + "; add yourself with: sudo usermod -aG hyperlight USER"
        case .badAnswer(let path, let reason):
            "the supervisor at \(path) gave no usable answer: \(reason)"
        case .refused(let problem):
            problem.detail
        case .notRunning(let names):
            "not running: " + names.joined(separator: ", ")
        case .unknownSandboxes(let names):
            "no such sandbox: " + names.joined(separator: ", ")
        case .notDebuggable(let name, let reason):
            "\"\(name)\" cannot be debugged: \(reason)"
        case .occupied(let name, let client):
            "\"\(name)\" is being debugged by \(client); --take-over sends that client away"
        case .noSocketPath(let variables):
            "no runtime folder is known (looked at " + variables.joined(separator: ", ")
                + "); name the control socket with --socket"
        case .fileExists(let path):
            "\(path) is there already and stays as it is; paste into it what was printed"
        case .cannotCreate(let path, let reason):
            "cannot make \(path): \(reason)"
        case .cannotRun(let program, let reason):
            "cannot run \(program): \(reason)"
        case .system(let text), .usage(let text):
            text
        }
    }
}
