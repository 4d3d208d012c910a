import WireProtocol

/// Breakpoints and watchpoints that the client has taken out and the worker still has.
///
/// gdb takes all of them out at each stop and puts them back before the guest goes on. The guest stands
/// meanwhile, and what is shown of its memory never has a breakpoint in it: so the worker need not hear of
/// what is put back, and of the rest it hears ahead of a request for which it matters.
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

    /// What the worker has to hear ahead of `request`.
    mutating func release(for request: DebugRequest) -> [DebugRequest] {
        guard request.needsRemovals else { return [] }
        let due = held
        held = []
        inserted.subtract(due)
        return due
    }
}

extension DebugRequest {
    /// Whether a breakpoint that is still in would make a difference.
    fileprivate var needsRemovals: Bool {
        switch self {
        case .resume, .writeMemory, .writePhysicalMemory, .writeRegisters, .writeState,
            .insertBreakpoint, .removeBreakpoint, .insertWatchpoint, .removeWatchpoint, .inspect:
            true
        case .readMemory, .readPhysicalMemory, .readExtendedState, .describeRegion: false
        // The worker takes all of them out itself.
        case .attach, .detach, .restartGuest: false
        // The guest runs, and nothing was taken out since.
        case .interrupt: false
        }
    }
}
