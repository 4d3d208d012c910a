import ArgumentParser
import ControlAPI
import GuestModel

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Prints one line per sandbox.",
        discussion: """
            With names, only these; then the exit code is 4 when one is unknown and 3 when one \
            does not run. JSON has RFC 3339 times and sizes in bytes.

            EXAMPLES
              hyperlight-ctl status
              hyperlight-ctl status counter wasm
              hyperlight-ctl status --format json
            """)

    @Argument(help: "Sandboxes to show; all when none is named.")
    var names: [String] = []

    @Option(help: "table or json.")
    var format: OutputFormat = .table

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let all = try await options.connection().list()
            let shown = try Self.selected(names, from: all)
            switch format {
            case .table: Output.write(StatusTable.text(shown, now: Output.now))
            case .json: Output.writeJSON(shown)
            }
            let idle = shown.filter { !$0.state.isAlive }
            if !names.isEmpty, !idle.isEmpty { throw .notRunning(idle.map(\.name)) }
        }
    }

    /// The named ones in the order of the names; all of them without names.
    static func selected(
        _ names: [String], from all: [SandboxStatus]
    ) throws(Failure) -> [SandboxStatus] {
        guard !names.isEmpty else { return all }
        let unknown = names.filter { name in !all.contains { $0.name == name } }
        guard unknown.isEmpty else { throw .unknownSandboxes(unknown) }
        return names.compactMap { name in all.first { $0.name == name } }
    }
}

extension SandboxState {
    /// A worker runs and its guest can go on.
    var isAlive: Bool {
        switch self {
        case .starting, .waiting, .ready, .running, .stoppedByDebugger: true
        case .disabled, .crashed, .backoff, .failed, .finished, .stopping, .stopped: false
        }
    }
}
