// hyperlight-supervisor: reads the configuration and runs all sandboxes in the foreground.

import ArgumentParser
import FoundationEssentials
import Glibc
import LinuxSystem
import Logging
import SandboxConfig
import Supervisor

@main
struct Program: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hyperlight-supervisor",
        abstract: "Runs Hyperlight micro-VM guests, each in a jailed process of its own.",
        discussion: """
            Starts one worker and one gdb stub for every sandbox of the configuration
            and keeps them going. Runs in the foreground; SIGTERM or SIGINT ends it
            politely, a second one at once.

            Examples:
              hyperlight-supervisor --config sandboxes.json
              hyperlight-supervisor --check --config sandboxes.json

            Exit codes: 0 clean; 64 usage; 66 a file is missing; 69 no usable hypervisor
            (--check); 71 operating-system error; 73 cannot create a socket, or another
            supervisor runs; 78 configuration.
            """,
        version: "hyperlight-supervisor \(projectVersion) (\(buildID), guest ABI 0.17)")

    /// Enough for as many sandboxes as a configuration may have, 8 descriptors each.
    private static let openFilesWanted: UInt64 = 16384

    @Option(help: "Configuration file; also HYPERLIGHT_CONFIG.")
    var config: String?

    @Flag(help: "Check the configuration, the files it names and the drivers; start nothing.")
    var check = false

    @Flag(help: "Take every warning about the configuration as an error.")
    var strict = false

    @Option(help: "Control socket; all other sockets go beside it. Also HYPERLIGHT_SOCKET.")
    var socket: String?

    @Option(help: "auto, human or json. Also HYPERLIGHT_LOG_FORMAT.")
    var logFormat: String?

    @Option(help: "trace, debug, info, warning, error or critical. Also HYPERLIGHT_LOG_LEVEL.")
    var logLevel: String?

    @Option(help: "How --check prints: human or json.")
    var format: CheckFormat = .human

    enum CheckFormat: String, ExpressibleByArgument, CaseIterable {
        case human, json
    }

    func run() throws {
        let path = config ?? Self.variable("HYPERLIGHT_CONFIG") ?? Self.standardPath
        var report = SandboxFile.load(path: path)
        if strict { report = report.treatingWarningsAsErrors() }
        if check {
            print(format == .json ? report.json : Self.checkText(report, path), terminator: "")
        } else {
            writeToStandardError(report.text)
        }
        guard let configuration = report.configuration else {
            throw ExitCode(report.outcome.rawValue)
        }
        let machine = try Self.machine()
        if check { throw ExitCode(checkBeyondTheFile(configuration, machine).rawValue) }
        try serve(configuration, machine, path: path)
    }

    /// What the environment says of this machine's hypervisor.
    private static func machine() throws -> MachineHypervisor {
        do throws(MachineHypervisor.Refusal) {
            return try MachineHypervisor(environment: environment)
        } catch {
            throw ValidationError(error.description)
        }
    }

    private func checkBeyondTheFile(
        _ configuration: SupervisorConfiguration, _ machine: MachineHypervisor
    ) -> SupervisorExit {
        let log = Logger.supervisor(form: .human, level: .critical)
        let result = ConfigurationCheck(configuration, machine: machine, log: log)
        switch format {
        case .human: print(result.text, terminator: "")
        // The array on standard output is about the file; what follows from it goes beside.
        case .json: writeToStandardError(result.text)
        }
        return result.exit
    }

    private static func checkText(_ report: SandboxFileReport, _ path: String) -> String {
        guard let configuration = report.configuration else { return report.text }
        return report.text + "\(path): \(configuration.sandboxes.count) sandboxes, no errors\n"
    }

    private func serve(
        _ configuration: SupervisorConfiguration, _ machine: MachineHypervisor, path: String
    ) throws {
        try setUpProcess(openFiles: Self.openFilesWanted)
        setFileModeMask(0o077)
        let log = Logger.supervisor(
            form: try form(configuration.log.format),
            level: Logger.Level(try level(configuration.log.level)))
        let options = SupervisorOptions(
            configurationPath: path,
            controlSocket: socket ?? Self.variable("HYPERLIGHT_SOCKET"),
            runtimeFolder: RuntimeFolder(environment: Self.environment, isRoot: geteuid() == 0),
            machine: machine)
        do throws(SystemCallError) {
            let supervisor = try SupervisorProcess(configuration, options: options, log: log)
            Glibc.exit(supervisor.run().rawValue)
        } catch {
            writeToStandardError("hyperlight-supervisor: \(error)\n")
            Glibc.exit(SupervisorExit.systemError.rawValue)
        }
    }

    private func form(_ fromFile: LogFormat) throws -> SupervisorLogHandler.Form {
        var format = fromFile
        if let word = logFormat ?? Self.variable("HYPERLIGHT_LOG_FORMAT") {
            guard let named = LogFormat(rawValue: word) else {
                throw ValidationError("--log-format: \"\(word)\" is not auto, human or json")
            }
            format = named
        }
        switch format {
        case .human: return .human
        case .json: return .json
        case .automatic: return isatty(2) == 1 ? .human : .json
        }
    }

    private func level(_ fromFile: LogLevel) throws -> LogLevel {
        guard let word = logLevel ?? Self.variable("HYPERLIGHT_LOG_LEVEL") else {
            return fromFile
        }
        guard let named = LogLevel(rawValue: word) else {
            throw ValidationError("--log-level: \"\(word)\" is no level")
        }
        return named
    }

    /// For root; everybody else has a file of their own.
    private static var standardPath: String {
        if geteuid() == 0 { return "/etc/hyperlight/sandboxes.json" }
        let home = variable("HOME") ?? ""
        return (variable("XDG_CONFIG_HOME") ?? home + "/.config") + "/hyperlight/sandboxes.json"
    }

    private static let environment = ProcessInfo.processInfo.environment

    /// A variable of the environment; an empty one is as good as none.
    private static func variable(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}
