import GuestABI
import GuestModel

/// The last host functions that the guest called, for `monitor hostcalls`.
struct HostCallHistory {
    /// What became of a call.
    enum Outcome {
        case notOffered

        fileprivate var text: String {
            switch self {
            case .notOffered: "not offered, the guest was told so"
            }
        }
    }

    private struct Entry {
        /// Printable; the guest chose it.
        let name: String
        let parameterCount: Int
        let outcome: Outcome
    }

    /// Longer names are cut.
    private static let nameMax = 40

    private var recent = RecentList<Entry>(capacity: 32)
    private(set) var count: UInt64 = 0

    mutating func note(_ call: HostCallRequest, _ outcome: Outcome) {
        count &+= 1
        recent.append(
            Entry(
                name: call.name.printable(max: Self.nameMax), parameterCount: call.parameterCount,
                outcome: outcome))
    }

    func append(to report: inout Report) {
        let entries = recent.elements
        guard !entries.isEmpty else { return report.line("the guest has called no host function") }
        for entry in entries {
            let count = entry.parameterCount
            report.line(
                "\(entry.name)  \(count) parameter\(count == 1 ? "" : "s")  \(entry.outcome.text)")
        }
        if UInt64(entries.count) < count {
            report.line("the last \(entries.count) of \(count) calls")
        }
    }
}
