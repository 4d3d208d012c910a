import GuestModel
import LinuxSystem
import WireProtocol

/// The place of one sandbox's stub: who holds it, and when the next one comes.
struct StubPost {
    private enum Stage {
        /// No stub is wanted: debugging is off, or cannot be had.
        case closed(DebugDoorState)
        case vacant(nextStart: UInt64)
        case held(Child, replacement: Replacement)
        /// Too many died.
        case gaveUp
    }

    private enum Replacement {
        case onDeath
        /// Asked to leave, and another is to follow.
        case wanted
        case unwanted
        /// It is of another build, and the next would be the same.
        case useless
    }

    /// What a stub's end means.
    enum Outcome: Hashable {
        case expected
        case restarts(afterMilliseconds: UInt64)
        case gaveUp
        /// The next one would be refused too.
        case useless
    }

    private var stage = Stage.closed(.off)
    private var history = RestartHistory(.stub)
    /// The attached client.
    var client: String?

    var child: Child? {
        switch stage {
        case .held(let child, _): child
        case .closed, .vacant, .gaveUp: nil
        }
    }

    var doorState: DebugDoorState {
        switch stage {
        case .closed(let state): state
        case .vacant: .restarting
        case .held(_, replacement: .onDeath): client == nil ? .listening : .attached
        case .held(_, replacement: .wanted): .restarting
        case .held(_, replacement: .unwanted): .off
        case .held(_, replacement: .useless): .unavailable
        case .gaveUp: .unavailable
        }
    }

    var nextDeadline: UInt64? {
        switch stage {
        case .vacant(let start) where start != .max: start
        case .held(let child, _): child.nextLook
        case .closed, .vacant, .gaveUp: nil
        }
    }

    func isDue(at now: UInt64) -> Bool {
        if case .vacant(let start) = stage { start <= now } else { false }
    }

    mutating func close(_ state: DebugDoorState) { stage = .closed(state) }

    mutating func begin(_ child: Child) { stage = .held(child, replacement: .onDeath) }

    /// No stub comes after this one, which is of another build and still has to be reaped.
    mutating func giveUp() {
        guard let child else { return }
        stage = .held(child, replacement: .useless)
    }

    /// The stub has ended (and was reaped).
    mutating func ended(
        isWanted: Bool, at now: UInt64, random: UInt64 = RestartHistory.evenRandom
    ) -> Outcome {
        client = nil
        switch stage {
        case .held(_, replacement: .wanted) where isWanted:
            stage = .vacant(nextStart: now)
            return .expected
        case .held(_, replacement: .onDeath) where isWanted:
            return noteDeath(at: now, random: random)
        case .held(_, replacement: .useless):
            stage = .gaveUp
            return .useless
        case .held, .vacant:
            stage = .closed(.off)
            return .expected
        case .closed, .gaveUp: return .expected
        }
    }

    /// Plans the next start after a death, or gives up.
    mutating func noteDeath(
        at now: UInt64, random: UInt64 = RestartHistory.evenRandom
    ) -> Outcome {
        guard let start = history.noteDeath(at: now, random: random) else {
            stage = .gaveUp
            return .gaveUp
        }
        stage = .vacant(nextStart: start)
        return .restarts(afterMilliseconds: (start - now) / 1_000_000)
    }

    /// Replaces the stub by a new one, politely.
    mutating func restart(at now: UInt64) {
        history.forgive()
        switch stage {
        case .held(let child, _):
            child.leave(StubOrder.stop, within: Child.leavingNanoseconds)
            stage = .held(child, replacement: .wanted)
        case .closed, .vacant, .gaveUp: stage = .vacant(nextStart: now)
        }
    }

    /// The guest is gone: a stub lets its client go and ends by itself; none follows.
    mutating func workerIsGone() {
        switch stage {
        case .held(let child, _):
            child.expectEnd(within: Child.leavingNanoseconds)
            stage = .held(child, replacement: .unwanted)
        case .vacant, .gaveUp: stage = .closed(.off)
        case .closed: break
        }
    }

    /// There is a guest again; whether a stub for it is to be started now.
    ///
    /// The last worker's stub may still be leaving: then the next one comes when it has gone. What
    /// killed stubs of another guest is forgiven.
    mutating func workerIsBack() -> Bool {
        history.forgive()
        switch stage {
        case .held(let child, _):
            stage = .held(child, replacement: .wanted)
            return false
        case .closed, .vacant, .gaveUp:
            stage = .vacant(nextStart: .max)
            return true
        }
    }

    mutating func leave() {
        switch stage {
        case .held(let child, _):
            child.leave(StubOrder.stop, within: Child.leavingNanoseconds)
            stage = .held(child, replacement: .unwanted)
        case .vacant, .gaveUp: stage = .closed(.off)
        case .closed: break
        }
    }
}
