import GuestModel
import WireProtocol

/// Breakpoints and watchpoints that the client has taken out and the worker still has.
///
/// gdb takes all of them out at each stop and puts them back before the guest goes on. The guest stands
/// meanwhile, and what is shown of its memory never has a breakpoint in it: so the worker need not hear of
/// what is put back, and of the rest it hears ahead of the request that follows.
struct HeldRemovals: Hashable, Sendable {
    /// A client that takes out more at once waits for the worker.
    private static let countMax = 16

    /// In the client's order.
    private var held: [DebugRequest] = []
    /// What the worker has put in, by the request that takes it out.
    private var inserted: Set<DebugRequest> = []

    /// The worker has put in what `removal` takes out.
    mutating func noteInsertion(undoneBy removal: DebugRequest) { inserted.insert(removal) }

    /// Whether the removal can wait; otherwise it is to be sent now, behind all others.
    mutating func hold(_ removal: DebugRequest) -> Bool {
        if held.contains(removal) { return true }
        guard held.count < Self.countMax else {
            inserted.remove(removal)
            return false
        }
        held.append(removal)
        return true
    }

    /// Whether what `removal` takes out is still there, and stays.
    mutating func cancel(_ removal: DebugRequest) -> Bool {
        // One that the worker never put in may have been taken out all the same.
        guard inserted.contains(removal), let index = held.firstIndex(of: removal) else {
            return false
        }
        held.remove(at: index)
        return true
    }

    /// What the worker has to hear ahead of `request`, with the guest at `rip`.
    mutating func release(for request: DebugRequest, rip: UInt64?) -> [DebugRequest] {
        // A step goes over a breakpoint where the guest stands, and is over before it can meet it again.
        let isKept = { (removal: DebugRequest) in
            guard request == .resume(.step), case .removeBreakpoint(_, let address) = removal else {
                return false
            }
            return address.rawValue == rip
        }
        let due = held.filter { !isKept($0) }
        held.removeAll { !isKept($0) }
        inserted.subtract(due)
        return due
    }
}
