/// Whether a child still answers.
///
/// A process that was stopped or hangs shows on neither its pidfd nor its socket. So it is asked once a
/// second, with one question under way at a time. Pure: times are nanoseconds of a monotonic clock.
struct Heartbeat: Hashable {
    static let interval: UInt64 = 1_000_000_000
    /// Without an answer for this long it is degraded.
    static let patience: UInt64 = 5_000_000_000
    /// Without an answer for this long it is killed.
    static let limit: UInt64 = 10_000_000_000

    /// What is to be done now.
    enum Action: Hashable {
        case nothing
        /// Send a ping with this number.
        case ask(UInt32)
        /// It has just become degraded.
        case warn
        /// It has just answered again.
        case recovered
        case kill
    }

    private enum Stage: Hashable {
        /// Nothing is expected of it yet.
        case off
        case resting(until: UInt64)
        case asked(at: UInt64, isDegraded: Bool)
    }

    private var stage = Stage.off
    private var sequence: UInt32 = 0

    /// From now on it has to answer.
    mutating func begin(at now: UInt64) {
        guard stage == .off else { return }
        stage = .resting(until: now + Self.interval)
    }

    var isDegraded: Bool {
        switch stage {
        case .off, .resting: false
        case .asked(_, let isDegraded): isDegraded
        }
    }

    /// When to look again.
    var nextLook: UInt64? {
        switch stage {
        case .off: nil
        case .resting(let end): end
        case .asked(let start, false): start + Self.patience
        case .asked(let start, true): start + Self.limit
        }
    }

    mutating func beat(at now: UInt64) -> Action {
        guard let next = nextLook, next <= now else { return .nothing }
        switch stage {
        case .off: return .nothing
        case .resting:
            sequence &+= 1
            stage = .asked(at: now, isDegraded: false)
            return .ask(sequence)
        case .asked(let start, false):
            stage = .asked(at: start, isDegraded: true)
            return .warn
        case .asked(_, true):
            stage = .off
            return .kill
        }
    }

    /// An answer came; one to another question than the last counts for nothing.
    mutating func answered(_ number: UInt32, at now: UInt64) -> Action {
        guard case .asked(_, let wasDegraded) = stage, number == sequence else { return .nothing }
        stage = .resting(until: now + Self.interval)
        return wasDegraded ? .recovered : .nothing
    }
}
