// SessionCore: one stub's debug session as a pure state machine.
//
// Bytes of the client and messages of the worker go in, with the time; what to send, close, log
// and report comes out. There is no socket and no clock here, so a test is a list of events and a
// list of actions. Breakpoint bytes, step mode and what becomes of the guest after a lost session
// are the worker's business: this side only asks. Start with `DebugSession`, then
// `DebugSession+Commands.swift` (what a packet does) and `DebugSession+Worker.swift`.

package import GDBRemote
import GuestModel
package import WireProtocol

/// The state of one stub between its client and its worker.
package struct DebugSession: Sendable {
    /// What happens to a stub, apart from bytes of the client (see `receive`).
    package enum Event: Hashable, Sendable {
        case clientConnected
        /// End of file, reset, or a send that failed.
        case clientLost
        case workerSaid(DebugReply)
        /// The worker's socket ended, or what came from it was no message.
        case workerLost
        /// Somebody else wants the guest: the client that is there must go.
        case dropOrdered
        /// The supervisor wants this stub to go.
        case stopOrdered
        /// Time went by; `nextDeadline` says when this is due.
        case tick
    }

    /// What the shell has to do, in this order.
    package enum Action: Hashable, Sendable {
        case sendToWorker(DebugRequest)
        /// Close the worker's connection, so that it lets the guest go; no `workerLost` is expected
        /// for it.
        case closeWorker
        case sendToClient([UInt8])
        /// Close the client's connection; no `clientLost` is expected for it.
        case closeClient(reason: String)
        case reportAttached
        case reportDetached(reason: String)
        case log(LogLevel, String)
        /// Nothing is left to do for this process.
        case exit
    }

    /// The connection to gdb.
    enum Client: Hashable, Sendable {
        case none
        /// Connected, and the guest has not noticed.
        case silent
        case talking
    }

    /// The guest, as far as this session knows.
    enum Guest: Hashable, Sendable {
        /// Not in a session; what it does is not known here.
        case detached
        /// `attach` went out and the guest does not stand yet.
        case attaching
        case stopped(StoppedGuest)
        case running
        case ended(StopReply)
        /// The worker is gone; the client has not been told by a stop reply.
        case lost
    }

    let identity: TargetIdentity
    let symbolFile: (any SymbolFile)?
    var client = Client.none
    var guest = Guest.detached
    /// What the guest that was resumed last had crashed with; nil for a sound one.
    var resumedCrash: GuestCrash?
    /// The request that the worker has not answered yet.
    var outstanding: OutstandingRequest?
    var removals = HeldRemovals()
    /// Removals that went out, whose replies come ahead of the one to `outstanding`.
    var unansweredRemovals = 0
    /// A detach that must wait for the reply to `outstanding`.
    var plannedDetach: PlannedDetach?
    var facts: GuestFacts?
    var deadlines = Deadlines()
    var isWorkerLost = false
    var isLeaving = false
    var hasExited = false
    /// Whether the client looked at all registers during the last stop: it will again.
    var readsExtendedState = false
    /// Whether the worker said that its driver has no x87 and SSE to show.
    var lacksExtendedState = false
    /// What the client's addresses mean (`monitor mem`).
    var readsPhysicalMemory = false
    /// In the order of their numbers.
    var savedRegisters: [SavedRegisters] = []
    /// Whether the connection outlives the session (`!`): its user may run the guest again later.
    var isExtended = false

    var decoder = PacketDecoder()
    var encoder = PacketEncoder()
    var features: ClientFeatures = []
    var acknowledges = true
    /// The last reply, for `-`; empty when there is none or nothing is acknowledged any more.
    var lastReply: [UInt8] = []
    var resendCount = 0
    var malformedCount = 0
    /// Packets in a row that were broken on their way, or too long.
    var brokenCount = 0
    /// Bodies of packets that wait for the worker or for the next stop.
    var waiting: [[UInt8]] = []
    /// 0x03 came for a resume that the worker has not got yet.
    var isInterruptWaiting = false

    var now: UInt64 = 0
    var actions: [Action] = []

    package init(identity: TargetIdentity, symbolFile: (any SymbolFile)? = nil) {
        self.identity = identity
        self.symbolFile = symbolFile
    }

    /// Whether a client is connected that has not sent one packet, so that the guest knows nothing of it.
    package var hasSilentClient: Bool { client == .silent }

    /// Takes one event; `now` is in nanoseconds on a clock that never goes back.
    package mutating func handle(_ event: Event, now: UInt64) -> [Action] {
        self.now = now
        switch event {
        case .clientConnected: clientConnected()
        case .clientLost: if client != .none { endClient(reason: "connection lost") }
        case .workerSaid(let reply): if !isWorkerLost { workerSaid(reply) }
        case .workerLost: workerLost()
        case .stopOrdered: leave()
        case .dropOrdered: if client != .none { closeClient("another debugger took over") }
        case .tick: expire()
        }
        return takeActions()
    }

    /// Takes the first `count` bytes of `buffer`, which the client sent.
    package mutating func receive(_ buffer: [UInt8], count: Int, now: UInt64) -> [Action] {
        self.now = now
        let bytes = buffer.span.extracting(first: count)
        var index = 0
        while client != .none, let event = decoder.receive(bytes, from: &index) {
            // Packets do not overlap: whatever began has come to its end.
            deadlines.packet = nil
            handle(event)
            if encoder.bytes.count > Self.repliesBytesMax {
                closeClient("too many packets at once")
            }
        }
        if client != .none, decoder.isInsidePacket, deadlines.packet == nil {
            deadlines.packet = now + Deadlines.packetTime
        }
        return takeActions()
    }

    /// When `tick` is due, in nanoseconds of the same clock; nil for never.
    package var nextDeadline: UInt64? { deadlines.next }

    private mutating func takeActions() -> [Action] {
        flush()
        let result = actions
        actions = []
        return result
    }

    /// Turns what was encoded so far into an action.
    mutating func flush() {
        guard !encoder.bytes.isEmpty else { return }
        let bytes = encoder.take()
        if client != .none { actions.append(.sendToClient(bytes)) }
    }

    // MARK: - Client

    private mutating func clientConnected() {
        guard !isLeaving, !isWorkerLost else {
            actions.append(.closeClient(reason: "this stub is about to end"))
            return
        }
        client = .silent
        decoder = PacketDecoder()
        features = []
        acknowledges = true
        lastReply = []
        resendCount = 0
        malformedCount = 0
        brokenCount = 0
        waiting = []
        isInterruptWaiting = false
        readsExtendedState = true
        readsPhysicalMemory = false
        savedRegisters = []
        isExtended = false
        deadlines.client = now + Deadlines.silenceTime
    }

    private mutating func handle(_ event: PacketDecoder.Event) {
        switch event {
        case .packet:
            brokenCount = 0
            packet(decoder.body)
        case .interrupt: interrupt()
        case .acknowledged: resendCount = 0
        case .resendRequested: resend()
        case .badChecksum:
            if acknowledges {
                encoder.requestResend()
            } else {
                encoder.packet(.malformed, for: features)
            }
            countBroken()
        case .oversized:
            if acknowledges { encoder.acknowledge() }
            encoder.packet(.malformed, for: features)
            countBroken()
        case .notADebugger: closeClient("the first byte is not a debugger's")
        case .garbage: closeClient("too many bytes that belong to no packet")
        }
    }

    private mutating func interrupt() {
        guard guest == .running else {
            // The client believes that the guest runs when its resume waits for the worker.
            isInterruptWaiting = isInterruptWaiting || isResumeWaiting
            return
        }
        guard deadlines.halt == nil else { return }
        requestHalt()
    }

    private mutating func resend() {
        guard acknowledges, !lastReply.isEmpty else { return }
        resendCount += 1
        guard resendCount <= Self.resendsMax else {
            closeClient("the client asked too often for the same reply")
            return
        }
        // What is encoded already came first and must not become part of the repeated reply.
        flush()
        actions.append(.sendToClient(lastReply))
    }

    /// A debugger sends a broken packet again, and gives up long before this.
    private mutating func countBroken() {
        brokenCount += 1
        guard brokenCount < Self.brokenMax else {
            return closeClient("too many broken packets in a row")
        }
        countMalformed()
    }

    mutating func countMalformed() {
        if let window = deadlines.malformedWindow, now < window {
            malformedCount += 1
        } else {
            malformedCount = 1
            deadlines.malformedWindow = now + Deadlines.malformedTime
        }
        if malformedCount > Self.malformedMax { closeClient("too many malformed packets") }
    }

    /// Sends what is encoded, closes the connection and lets the guest go.
    mutating func closeClient(_ reason: String) {
        flush()
        actions.append(.closeClient(reason: reason))
        endClient(reason: reason)
    }

    /// Forgets the client; the guest is let go unless it is already.
    mutating func endClient(reason: String) {
        let wasTalking = client == .talking
        client = .none
        waiting = []
        _ = encoder.take()
        deadlines.client = nil
        deadlines.packet = nil
        deadlines.halt = nil
        forgetWhatTheClientWaitsFor()
        if wasTalking { actions.append(.reportDetached(reason: reason)) }
        switch guest {
        case .attaching, .stopped, .running: detach(.asConfigured, then: .nothing)
        case .detached: break
        case .ended, .lost: guest = isWorkerLost ? guest : .detached
        }
        exitIfDone()
    }

    /// A reply that comes late must not reach the next client.
    private mutating func forgetWhatTheClientWaitsFor() {
        if case .detach = outstanding { outstanding = .detach(.nothing) }
        if outstanding?.hasClientWaiting == true { outstanding = .abandoned }
        plannedDetach?.followUp = .nothing
    }

    // MARK: - End of the process

    private mutating func leave() {
        isLeaving = true
        if client != .none {
            closeClient("the stub was told to stop")
        } else {
            exitIfDone()
        }
    }

    /// Ends the process when nobody is left to talk to.
    mutating func exitIfDone() {
        guard client == .none else { return }
        let isIdle = outstanding == nil && plannedDetach == nil
        if isWorkerLost || isLeaving && isIdle { exit() }
    }

    mutating func exit() {
        guard !hasExited else { return }
        hasExited = true
        actions.append(.exit)
    }

    /// Most bytes of replies to what came in one piece; clients wait for each reply, so a few
    /// of the largest are plenty.
    static let repliesBytesMax = 1 << 20
    /// Most repetitions of one reply.
    static let resendsMax = 3
    /// Most malformed packets within `Deadlines.malformedTime`.
    static let malformedMax = 100
    /// This many broken packets in a row end the session.
    static let brokenMax = 16
}
