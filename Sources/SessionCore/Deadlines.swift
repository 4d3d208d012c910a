import GDBRemote
import WireProtocol

/// When the session loses patience, in nanoseconds of the shell's clock.
struct Deadlines: Hashable, Sendable {
    /// For a first good packet, and for a client to close after the guest's end.
    var client: UInt64?
    /// For the worker's reply to a request.
    var request: UInt64?
    /// For the guest to stand.
    var halt: Halt?
    /// For the rest of a packet that began.
    var packet: UInt64?
    /// While malformed packets are counted together; nothing is due then.
    var malformedWindow: UInt64?

    /// A halt is asked for again after a while, and given up later; `attach` asks only once.
    struct Halt: Hashable, Sendable {
        var repeatAt: UInt64
        var giveUpAt: UInt64
    }

    static let second: UInt64 = 1_000_000_000
    static let silenceTime = 10 * second
    static let lingerTime = 5 * second
    static let requestTime = 5 * second
    static let haltRepeatTime = 2 * second
    static let haltTime = 10 * second
    static let packetTime = 30 * second
    static let malformedTime = 10 * second

    /// The earliest one that needs a tick.
    var next: UInt64? {
        var earliest: UInt64?
        for deadline in [client, request, halt?.repeatAt, packet] {
            guard let deadline else { continue }
            earliest = min(earliest ?? deadline, deadline)
        }
        return earliest
    }
}

extension DebugSession {
    /// Asks the worker to halt the running guest.
    mutating func requestHalt() {
        tellWorker(.interrupt)
        let giveUpAt = deadlines.halt?.giveUpAt ?? now + Deadlines.haltTime
        deadlines.halt = Deadlines.Halt(
            repeatAt: now + Deadlines.haltRepeatTime, giveUpAt: giveUpAt)
    }

    /// Does what is due.
    mutating func expire() {
        if let deadline = deadlines.client, now >= deadline { expireClient() }
        if let deadline = deadlines.packet, now >= deadline {
            deadlines.packet = nil
            closeClient("a packet did not come to its end")
        }
        if let deadline = deadlines.request, now >= deadline { expireRequest() }
        if let halt = deadlines.halt, now >= halt.repeatAt { expireHalt(halt) }
    }

    private mutating func expireClient() {
        deadlines.client = nil
        switch client {
        case .none: break
        case .silent: closeClient("no packet came")
        case .talking: closeClient("the guest has ended")
        }
    }

    private mutating func expireRequest() {
        deadlines.request = nil
        guard let request = outstanding else { return }
        actions.append(.log(.warning, "the worker does not answer"))
        // The end of this process is the stronger way to let a guest go.
        guard plannedDetach == nil else { return exit() }
        switch request {
        case .detach: exit()
        case .attach:
            closeClient("the worker does not answer")
        case .memory, .checksum, .search, .memoryWrite, .registerWrite, .stateWrite, .insertion,
            .removal, .extendedState, .region, .report, .restart:
            outstanding = .abandoned
            if request.hasClientWaiting { reply(.workerGone) }
            serveWaiting()
        case .abandoned: break
        }
    }

    private mutating func expireHalt(_ halt: Deadlines.Halt) {
        guard now < halt.giveUpAt else {
            deadlines.halt = nil
            actions.append(.log(.error, "the guest could not be halted"))
            closeClient("the guest could not be halted")
            return
        }
        requestHalt()
    }
}
