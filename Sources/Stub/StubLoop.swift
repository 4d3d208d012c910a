import Glibc
import LinuxSystem
import SessionCore
import WireProtocol

/// The stub's only loop: waits, receives, asks the session, sends.
struct StubLoop: ~Copyable {
    private enum Slot {
        static let worker = 0
        static let client = 1
        static let control = 2
        static let tcpListener = 3
        static let unixListener = 4
        /// The first of several.
        static let turnedAway = 5
        static let count = turnedAway + TurnedAwayClients.countMax
    }

    /// Most receives in a row from one client: the system keeps some megabytes for it.
    private static let drainedMax = 64

    /// How long nobody is taken in after the system refused to.
    private static let restTime: UInt64 = 1_000_000_000

    private let descriptors: StubDescriptors
    private var session: DebugSession
    private var client: ClientConnection?
    private var turnedAway = TurnedAwayClients()
    /// Until when nobody is taken in.
    ///
    /// A refused client stays in the backlog, and its listener would end every wait at once.
    private var restEnd: UInt64?
    /// The answer that the supervisor waits for and that found the socket full.
    private var owedPong: UInt32?
    /// What the session wants and has not got yet.
    private var actions: ArraySlice<DebugSession.Action> = []
    private var isPerforming = false
    private var isWorkerLost = false
    private var isSupervisorGone = false
    private var exitCode: StubProgram.ExitCode?

    private var set = PollSet([Int32](repeating: -1, count: Slot.count))
    private var now: UInt64 = 0
    /// Reused for every frame sent to the worker.
    private var request: [UInt8] = []
    private var frameBuffer = [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)
    private var clientBuffer = [UInt8](repeating: 0, count: 65536)

    init(_ descriptors: consuming StubDescriptors, session: DebugSession) {
        self.descriptors = descriptors
        self.session = session
    }

    mutating func run() -> StubProgram.ExitCode {
        now = monotonicNanoseconds()
        while true {
            if let exitCode { return exitCode }
            watch()
            let ready = set.wait(milliseconds: timeout)
            now = monotonicNanoseconds()
            if ready > 0 { serve() }
            expire()
        }
    }

    // MARK: - Waiting

    private mutating func watch() {
        let takesNobody = client != nil && turnedAway.isFull || restEnd != nil
        set.watch(isWorkerLost ? -1 : descriptors.worker.rawValue, at: Slot.worker)
        set.watch(
            client?.descriptor.rawValue ?? -1, at: Slot.client,
            forOutput: client?.hasPending ?? false)
        set.watch(isSupervisorGone ? -1 : descriptors.control.rawValue, at: Slot.control)
        set.watch(takesNobody ? -1 : number(of: descriptors.tcpListener), at: Slot.tcpListener)
        set.watch(takesNobody ? -1 : number(of: descriptors.unixListener), at: Slot.unixListener)
        for place in 0..<TurnedAwayClients.countMax {
            set.watch(turnedAway.descriptor(at: place), at: Slot.turnedAway + place)
        }
    }

    private func number(of descriptor: borrowing OwnedDescriptor?) -> Int32 {
        switch descriptor {
        case .some(let descriptor): descriptor.rawValue
        case .none: -1
        }
    }

    /// Milliseconds until the next deadline; -1 for none.
    private var timeout: Int32 {
        var deadline = session.nextDeadline ?? .max
        if let other = turnedAway.deadline { deadline = min(deadline, other) }
        if let other = client?.sendDeadline { deadline = min(deadline, other) }
        if let restEnd { deadline = min(deadline, restEnd) }
        guard deadline != .max else { return -1 }
        guard deadline > now else { return 0 }
        return Int32(clamping: (deadline - now) / 1_000_000 + 1)
    }

    private mutating func expire() {
        if let deadline = session.nextDeadline, now >= deadline { handle(.tick) }
        if let deadline = client?.sendDeadline, now >= deadline { loseClient() }
        turnedAway.expire(now: now)
        if let deadline = restEnd, now >= deadline { restEnd = nil }
    }

    // MARK: - Serving

    private mutating func serve() {
        if set.isReadable(Slot.worker) { serveWorker() }
        if set.isReadable(Slot.client) || set.isWritable(Slot.client) { serveClient() }
        for place in 0..<TurnedAwayClients.countMax
        where set.isReadable(Slot.turnedAway + place) {
            turnedAway.serve(place, buffer: &clientBuffer)
        }
        if set.isReadable(Slot.control) { serveControl() }
        if set.isReadable(Slot.tcpListener) { accept(overTCP: true) }
        if set.isReadable(Slot.unixListener) { accept(overTCP: false) }
    }

    private mutating func serveWorker() {
        switch receive(descriptors.worker, into: &frameBuffer) {
        case .nothing: break
        case .ended: loseWorker()
        case .bytes(let count):
            do throws(WireError) {
                handle(.workerSaid(try DebugReply(frame: frameBuffer, count: count)))
            } catch {
                notify(.log(.error, "message of the worker: \(error)"))
                loseWorker()
            }
        }
    }

    /// Takes what the client sent; whether there was any, so that more may follow.
    @discardableResult
    private mutating func serveClient() -> Bool {
        guard let client else { return false }
        if client.hasPending {
            guard client.sendPending(now: now) else {
                loseClient()
                return false
            }
            // Whoever does not take answers gets no more of them.
            guard !client.hasPending else { return false }
        }
        switch receive(client.descriptor, into: &clientBuffer) {
        case .nothing: return false
        case .ended:
            loseClient()
            return false
        case .bytes(let count):
            perform(session.receive(clientBuffer, count: count, now: now))
            return true
        }
    }

    /// Finds out whether the client is gone already: its end is behind what it sent last.
    private mutating func drainClient() {
        for _ in 0..<Self.drainedMax where !serveClient() { return }
    }

    private mutating func serveControl() {
        switch receive(descriptors.control, into: &frameBuffer) {
        case .nothing: break
        case .ended:
            // Let everything go at once; the end stays readable, so it is not looked at again.
            isSupervisorGone = true
            handle(.stopOrdered)
        case .bytes(let count):
            do throws(WireError) {
                switch try StubOrder(frame: frameBuffer, count: count) {
                case .stop: handle(.stopOrdered)
                case .dropClient: handle(.dropOrdered)
                case .ping(let number): answer(number)
                case .start: exitCode = .internalError
                }
            } catch {
                exitCode = .internalError
            }
        }
    }

    private mutating func accept(overTCP isTCP: Bool) {
        do throws(SystemCallError) {
            let accepted =
                isTCP ? try accept(descriptors.tcpListener) : try accept(descriptors.unixListener)
            guard let descriptor = accepted else { return }
            admit(descriptor)
        } catch {
            restEnd = now + Self.restTime
            notify(.log(.warning, "no client can be taken in: \(error)"))
        }
    }

    private func accept(
        _ listener: borrowing OwnedDescriptor?
    ) throws(SystemCallError) -> OwnedDescriptor? {
        switch listener {
        case .some(let listener): try acceptConnection(listener)
        case .none: nil
        }
    }

    private mutating func admit(_ descriptor: consuming OwnedDescriptor) {
        let peer = peerName(descriptor)
        drainClient()
        if let silent = client, session.hasSilentClient {
            // It may be anything, also what was left waiting by a stub that died: it holds no door.
            notify(.clientRejected("\(silent.peer): silent, and \(peer) came"))
            loseClient()
        }
        if let client {
            guard !turnedAway.isFull else { return }
            notify(.clientRejected("\(peer): another debugger is attached"))
            turnedAway.take(TurnedAwayClient(descriptor, attachedPeer: client.peer, now: now))
        } else {
            client = ClientConnection(descriptor, peer: peer)
            handle(.clientConnected)
        }
    }

    // MARK: - Acting

    private mutating func loseClient() {
        client = nil
        handle(.clientLost)
    }

    private mutating func loseWorker() {
        guard !isWorkerLost else { return }
        closeWorker()
        handle(.workerLost)
    }

    /// The worker sees the end of its session and lets the guest go.
    private mutating func closeWorker() {
        isWorkerLost = true
        _ = shutdown(descriptors.worker.rawValue, Int32(SHUT_RDWR))
    }

    private mutating func handle(_ event: DebugSession.Event) {
        perform(session.handle(event, now: now))
    }

    private mutating func perform(_ wanted: [DebugSession.Action]) {
        if actions.isEmpty { actions = wanted[...] } else { actions += wanted }
        // An action may fail and bring more about: that comes after what was wanted before.
        guard !isPerforming else { return }
        isPerforming = true
        defer { isPerforming = false }
        while let action = actions.popFirst() { perform(action) }
    }

    private mutating func perform(_ action: DebugSession.Action) {
        switch action {
        case .sendToWorker(let request): sendToWorker(request)
        case .closeWorker: closeWorker()
        case .sendToClient(let bytes):
            if let client, !client.send(bytes, now: now) { loseClient() }
        case .closeClient(let reason):
            // Of a session, its end is reported.
            if let client, !client.isReported {
                notify(.clientRejected("\(client.peer): \(reason)"))
            }
            client = nil
        case .reportAttached:
            client?.isReported = true
            notify(.clientAttached(client?.peer ?? "unknown"))
        case .reportDetached(let reason): notify(.clientDetached(reason))
        case .log(let level, let text): notify(.log(level, text))
        case .exit: exitCode = exitCode ?? .success
        }
    }

    private mutating func sendToWorker(_ message: DebugRequest) {
        guard !isWorkerLost else { return }
        message.encode(into: &request)
        switch send(descriptors.worker, request) {
        case .bytes: break
        // One request is outstanding, with a few ahead of it: a full socket means that the worker reads
        // no more.
        case .full, .ended: loseWorker()
        }
    }

    /// Tells the supervisor; what it does not take now is lost.
    private mutating func notify(_ notice: StubNotice) {
        if let number = owedPong { answer(number) }
        _ = send(descriptors.control, notice.encoded())
    }

    /// Answers a ping, at the latest before the next notice: however much clients make it say, a sign
    /// of life is not crowded out.
    private mutating func answer(_ ping: UInt32) {
        switch send(descriptors.control, StubNotice.pong(ping).encoded()) {
        case .bytes, .ended: owedPong = nil
        case .full: owedPong = ping
        }
    }
}
