/// The place of one sandbox's worker: who holds it, and what follows its end.
struct WorkerPost {
    private enum Stage {
        case vacant
        case held(Child, afterwards: Afterwards)
        /// Nobody, until this time.
        case waiting(nextStart: UInt64)
    }

    /// What follows the end of a worker.
    enum Afterwards: Hashable {
        /// What the restart policy says.
        case policy
        /// Another one, at once: somebody asked for it.
        case restart
        /// Nothing: somebody asked for the end.
        case stop
        /// Nothing: the next one would fail in the same way.
        case giveUp
    }

    private var stage = Stage.vacant

    var child: Child? {
        switch stage {
        case .held(let child, _): child
        case .vacant, .waiting: nil
        }
    }

    /// When the next worker comes, if one is to come.
    var nextStart: UInt64? {
        switch stage {
        case .waiting(let start): start
        case .vacant, .held: nil
        }
    }

    var nextDeadline: UInt64? { nextStart ?? child?.nextLook }

    func isDue(at now: UInt64) -> Bool { nextStart.map { $0 <= now } ?? false }

    /// Whether the worker that is there was asked to end.
    var isDismissed: Bool {
        switch stage {
        case .held(_, afterwards: .restart), .held(_, afterwards: .stop): true
        case .held(_, afterwards: .policy), .held(_, afterwards: .giveUp), .vacant, .waiting: false
        }
    }

    mutating func begin(_ child: Child) { stage = .held(child, afterwards: .policy) }

    mutating func wait(until start: UInt64) { stage = .waiting(nextStart: start) }

    mutating func leaveVacant() { stage = .vacant }

    /// Decides what follows the end of the worker that is there now.
    mutating func afterEnd(_ afterwards: Afterwards) {
        guard case .held(let child, _) = stage else { return }
        stage = .held(child, afterwards: afterwards)
    }

    /// The worker has ended (and was reaped); what is to follow.
    mutating func ended() -> Afterwards {
        defer { stage = .vacant }
        switch stage {
        case .held(_, let afterwards): return afterwards
        case .vacant, .waiting: return .stop
        }
    }
}
