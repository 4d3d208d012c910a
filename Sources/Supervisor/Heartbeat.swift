/// Whether a child still answers.
///
/// A process that was stopped or hangs shows on neither its pidfd nor its socket. So it is asked once a
/// second, and any answer to a question that is still open is a sign of life: a single one may get
/// lost where much is said. Pure: times are nanoseconds of a monotonic clock.
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
        /// Asked, first at `start`; the questions from `first` on are open.
        case asked(start: UInt64, first: UInt32, next: UInt64, isDegraded: Bool)
    }

    private var stage = Stage.off
    private var sequence: UInt32 = 0

    /// From now on it has to answer, or after a while in which it may be busy.
    ///
    /// Beginning again can bring the first question forward, and never back.
    mutating func begin(at now: UInt64, after delay: UInt64 = interval) {
        switch stage {
        case .off: stage = .resting(until: now + delay)
        case .resting(let end): stage = .resting(until: min(end, now + delay))
        case .asked: break
        }
    }

    var isDegraded: Bool {
        switch stage {
        case .off, .resting: false
        case .asked(_, _, _, let isDegraded): isDegraded
        }
    }

    /// When to look again.
    var nextLook: UInt64? {
        switch stage {
        case .off: nil
        case .resting(let end): end
        case .asked(_, _, let next, _): next
        }
    }

    mutating func beat(at now: UInt64) -> Action {
        guard let due = nextLook, due <= now else { return .nothing }
        switch stage {
        case .off: return .nothing
        case .resting:
            sequence &+= 1
            stage = .asked(
                start: now, first: sequence, next: now + Self.interval, isDegraded: false)
            return .ask(sequence)
        case .asked(var start, let first, _, var isDegraded):
            // Whoever looks this late stood still itself, and its silence is not the child's.
            if now - due > Self.interval { start += now - due }
            let silence = now - start
            guard silence < Self.limit else {
                stage = .off
                return .kill
            }
            let isNews = silence >= Self.patience && !isDegraded
            if isNews { isDegraded = true } else { sequence &+= 1 }
            stage = .asked(
                start: start, first: first, next: now + Self.interval, isDegraded: isDegraded)
            return isNews ? .warn : .ask(sequence)
        }
    }

    /// An answer came; one to a question that is not open counts for nothing.
    mutating func answered(_ number: UInt32, at now: UInt64) -> Action {
        guard case .asked(_, let first, _, let wasDegraded) = stage,
            (first...max(first, sequence)).contains(number)
        else { return .nothing }
        stage = .resting(until: now + Self.interval)
        return wasDegraded ? .recovered : .nothing
    }
}
