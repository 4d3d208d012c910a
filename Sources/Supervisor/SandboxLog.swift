import GuestModel
import LinuxSystem
import Logging

/// The log of one sandbox.
///
/// What the supervisor itself says always goes in; what guest, worker and stub say, only as far as
/// a budget allows. There are two, so that a guest that prints for ever cannot hide a crash.
struct SandboxLog {
    /// Who decides how much is said.
    enum Voice: CaseIterable {
        /// The guest: what it prints, and what its worker says about its calls.
        case guest
        /// Worker and stub: what they write when they crash, and what a client makes a stub say.
        case processes

        /// As in "12 bytes of guest output were dropped".
        fileprivate var text: String {
            switch self {
            case .guest: "guest output"
            case .processes: "worker and stub text"
            }
        }

        fileprivate var budget: WritableKeyPath<SandboxLog, OutputBudget> {
            switch self {
            case .guest: \.guestBudget
            case .processes: \.processBudget
            }
        }
    }

    let supervisor: Logger
    private let name: SandboxName
    fileprivate var guestBudget = OutputBudget()
    fileprivate var processBudget = OutputBudget()

    init(_ supervisor: Logger, name: SandboxName) {
        self.supervisor = supervisor
        self.name = name
    }

    /// Writes what a process said, unless there was too much of it lately.
    mutating func take(
        _ text: String, _ voice: Voice, event: String, level: Logger.Level,
        fields: [(String, String)] = []
    ) {
        guard level >= supervisor.logLevel else { return }
        let byteCount = LogRecord.escaped(text).utf8.count
        guard self[keyPath: voice.budget].admits(byteCount, at: monotonicNanoseconds()) else {
            return
        }
        supervisor.log(level: level, event, sandbox: name, text, fields: fields)
    }

    /// When dropped text is to be told of.
    var nextReport: UInt64? {
        [guestBudget.nextReport, processBudget.nextReport].compactMap { $0 }.min()
    }

    /// Tells how much was dropped, once a second at most; with `.max` at once.
    mutating func report(at now: UInt64) {
        for voice in Voice.allCases {
            guard let count = self[keyPath: voice.budget].takeReport(at: now) else { continue }
            supervisor.warning(
                "output.dropped", sandbox: name, "\(count) bytes of \(voice.text) were dropped")
        }
    }
}
