import GDBRemote
import GuestModel
import SessionCore
import WireProtocol

/// A client that sends anything, a worker that keeps to the rules or does not, and time.
func sessionMistakes(_ input: [UInt8]) -> [String] {
    var game = SessionGame(input)
    game.play()
    return game.mistakes
}

/// One session between both sides; notes what a stub must never do.
private struct SessionGame {
    private var session = DebugSession(identity: TargetIdentity(process: 0x40_0001))
    private var input: InputReader
    private var now: UInt64 = 1_000_000_000
    private var isConnected = false
    private var isWorkerClosed = false
    private var hasExited = false
    /// What the worker has not answered, oldest first.
    private var inbox: [DebugRequest] = []
    private(set) var mistakes: [String] = []

    /// Largest packet but for the escapes of its body, and what is sent beside it.
    private static let burstBytesMax = 2 * (1 << 20)

    init(_ input: [UInt8]) { self.input = InputReader(input) }

    mutating func play() {
        var moves = 0
        while !input.isAtEnd, mistakes.isEmpty, !hasExited, moves < 2000 {
            move()
            moves += 1
        }
    }

    private mutating func move() {
        let move = input.byte()
        switch move % 12 {
        case 0: connect()
        case 1: loseClient()
        case 2: pass(UInt64(input.byte()) * 250_000_000)
        case 3: take(session.handle(.tick, now: now))
        case 4: if !isWorkerClosed { loseWorker() }
        case 5: take(session.handle(.stopOrdered, now: now))
        case 6, 7: answer()
        case 8: sayAnything()
        case 9: receive(input.bytes(Int(input.byte())))
        default: receive(Self.framed(input.bytes(Int(input.byte() % 64))))
        }
    }

    // MARK: - Client and time

    private mutating func connect() {
        guard !isConnected else { return }
        isConnected = true
        take(session.handle(.clientConnected, now: now))
    }

    private mutating func loseClient() {
        guard isConnected else { return }
        isConnected = false
        take(session.handle(.clientLost, now: now))
    }

    private mutating func receive(_ bytes: [UInt8]) {
        guard isConnected else { return }
        take(session.receive(bytes, count: bytes.count, now: now))
    }

    private mutating func pass(_ nanoseconds: UInt64) {
        now += nanoseconds
        guard let deadline = session.nextDeadline, now >= deadline else { return }
        take(session.handle(.tick, now: now))
        if let next = session.nextDeadline, next <= now, !hasExited {
            mistakes.append("a deadline stays due, the loop would spin")
        }
    }

    private static func framed(_ body: [UInt8]) -> [UInt8] {
        let sum = body.reduce(UInt8(0), &+)
        return [UInt8(ascii: "$")] + body
            + [UInt8(ascii: "#"), Hex.digit(sum >> 4), Hex.digit(sum & 15)]
    }

    // MARK: - Worker

    private mutating func say(_ reply: DebugReply) {
        guard !isWorkerClosed else { return }
        take(session.handle(.workerSaid(reply), now: now))
    }

    private mutating func loseWorker() {
        isWorkerClosed = true
        take(session.handle(.workerLost, now: now))
    }

    /// As a worker does that keeps to the rules.
    private mutating func answer() {
        guard !inbox.isEmpty else { return say(.stopped(stop(input.byte()))) }
        let choice = input.byte()
        switch inbox.removeFirst() {
        case .attach:
            say(.attached(GuestFacts(loadBias: 1, firstSegmentAddress: 2, capabilities: .complete)))
            say(.stopped(stop(choice)))
        case .readMemory(_, let byteCount), .readPhysicalMemory(_, let byteCount):
            let count = choice % 4 == 0 ? Int(byteCount) / 2 : Int(byteCount)
            say(
                choice % 4 == 1
                    ? .refused(.notMapped) : .memory(.init(repeating: 0x23, count: count)))
        case .describeRegion(let address):
            let last = GuestVirtualAddress(.max)
            guard choice % 4 != 1,
                let region = MappedRegion(
                    start: address, last: last, permissions: choice % 2 == 0 ? .all : nil)
            else { return say(.refused(.notSupported)) }
            say(.region(region))
        case .inspect: say(choice % 4 == 1 ? .refused(.notSupported) : .report("a\nb"))
        case .restartGuest:
            say(choice % 4 == 1 ? .refused(.notSupported) : .done)
            if choice % 4 != 1 { say(.stopped(stop(0))) }
        case .writeMemory, .writePhysicalMemory, .writeRegisters, .writeState, .insertBreakpoint,
            .removeBreakpoint, .insertWatchpoint, .removeWatchpoint:
            say(choice % 4 == 1 ? .refused(.notSupported) : .done)
        case .readExtendedState:
            let bytes = [UInt8](repeating: choice, count: ExtendedState.byteCount)
            say(choice % 4 == 1 ? .refused(.notSupported) : .extendedState(.init(fxsave: bytes)))
        case .resume:
            if choice % 4 == 1 { say(.stopped(stop(choice))) }
            if choice % 4 == 2 { say(.ended(.finished)) }
        case .interrupt: say(.stopped(stop(2)))
        case .detach: say(.done)
        }
    }

    private func stop(_ choice: UInt8) -> StopEvent {
        let address = GuestVirtualAddress(0x1000)
        let reasons: [StopReason] = [
            .entryPoint, .attached, .interrupted, .stepped, .softwareBreakpoint(address),
            .hardwareBreakpoint(address), .guestTrap, .crashed(.tripleFault),
            .watchpoint(.access, address),
        ]
        return StopEvent(
            reason: reasons[Int(choice) % reasons.count], state: VCPUState(),
            windows: [MemoryWindow(start: address, bytes: [0xCC, choice])])
    }

    /// A worker that was taken over: any reply at any time.
    private mutating func sayAnything() {
        let type = 101 + UInt16(input.byte() % 7)
        // A stop frame is too long to be found by chance.
        if type == 106 { return say(.stopped(stop(input.byte()))) }
        let payload = input.bytes(Int(input.byte()))
        for count in [payload.count, 1, 0] {
            let frame =
                [UInt8(type), 0, 0, 0, UInt8(count & 0xFF), UInt8(count >> 8), 0, 0]
                + payload.prefix(count)
            guard let reply = try? DebugReply(frame: frame) else { continue }
            return say(reply)
        }
    }

    // MARK: - What the session wants

    private mutating func take(_ actions: [DebugSession.Action]) {
        var sent = 0
        for action in actions {
            switch action {
            case .sendToWorker(let request):
                if isWorkerClosed { mistakes.append("a request to nobody: \(request)") }
                inbox.append(request)
                if inbox.count > 1000 { mistakes.append("requests without end") }
            case .sendToClient(let bytes):
                if !isConnected { mistakes.append("bytes for nobody") }
                sent += bytes.count
            case .closeClient:
                if !isConnected { mistakes.append("closed a client that is not there") }
                isConnected = false
            case .closeWorker:
                if isWorkerClosed { mistakes.append("closed a worker that is not there") }
                isWorkerClosed = true
            case .exit: hasExited = true
            case .reportAttached, .reportDetached, .log: break
            }
        }
        if sent > Self.burstBytesMax { mistakes.append("\(sent) bytes for one event") }
    }
}
