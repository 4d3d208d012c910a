import GDBRemote
import GuestModel
import SessionCore
import Testing
import WireProtocol

/// Clients that send anything at any time, and a worker that keeps to the rules and takes its time.
struct RandomSessionTests {
    @Test(arguments: 1...12)
    func `no client and no delay breaks the rules between stub and worker`(seed: UInt64) {
        var game = RandomGame(seed: seed)
        for _ in 0..<1500 { game.move() }
        game.finish()
        #expect(game.mistakes == [])
    }
}

/// A client that asks one thing at a time, and a worker that answers at once.
struct RandomBreakpointTests {
    @Test(arguments: 1...8)
    func `whenever the guest goes on it has the breakpoints that the client was told of`(
        seed: UInt64
    ) {
        var game = BreakpointGame(seed: seed)
        for _ in 0..<1000 { game.move() }
        #expect(game.mistakes == [])
        #expect(game.resumeCount > 100 && game.restartCount > 10)
    }
}

private struct BreakpointGame {
    private var session = DebugSession(identity: TargetIdentity(process: 0x40_0001))
    private var random: SeededGenerator
    /// What there is, by the request that takes it out.
    private var worker: Set<DebugRequest> = []
    private var client: Set<DebugRequest> = []
    private(set) var resumeCount = 0
    private(set) var restartCount = 0
    private(set) var mistakes: [String] = []

    init(seed: UInt64) {
        random = SeededGenerator(state: seed)
        take(session.handle(.clientConnected, now: 1))
        _ = ask("QStartNoAckMode")
        _ = ask("?")
    }

    mutating func move() {
        let number = Int.random(in: 0..<30, using: &random)
        let address = 0x40_1000 + UInt64.random(in: 0..<2, using: &random)
        let place = String(address, radix: 16)
        let breakpoint = DebugRequest.removeBreakpoint(
            Bool.random(using: &random) ? .software : .hardware, .init(address))
        let type = breakpoint == .removeBreakpoint(.software, .init(address)) ? 0 : 1
        switch number {
        case 0..<12: if ask("Z\(type),\(place),1") == "OK" { client.insert(breakpoint) }
        case 12..<20: if ask("z\(type),\(place),1") == "OK" { client.remove(breakpoint) }
        case 20..<22: _ = ask("m5000,1")
        case 22: _ = ask("M5000,1:00")
        case 23: _ = ask("qRcmd,737461747573")
        case 24..<26: _ = ask("vCont;c")
        case 26..<28: _ = ask("vCont;s:1")
        case 28: if ask("vRun;").hasPrefix("T") { client = [] }
        default:
            if ask("D") == "OK" { client = [] }
            _ = ask("?")
        }
    }

    private mutating func ask(_ body: String) -> String {
        let bytes = Array(frame(body).utf8)
        return take(session.receive(bytes, count: bytes.count, now: 1))
    }

    /// Does what the session wants, and what follows from that; the body of the last packet.
    @discardableResult
    private mutating func take(_ actions: [DebugSession.Action]) -> String {
        var actions = actions[...]
        var answer = ""
        while let action = actions.popFirst() {
            switch action {
            case .sendToWorker(let request):
                for reply in replies(to: request) {
                    actions += session.handle(.workerSaid(reply), now: 1)
                }
            case .sendToClient(let bytes):
                let text = String(decoding: bytes, as: UTF8.self)
                answer = String(text.drop { $0 == "+" }.dropFirst().prefix { $0 != "#" })
            case .log(.error, let text): mistakes.append(text)
            case .closeWorker, .exit, .closeClient: mistakes.append("\(action)")
            case .log, .reportAttached, .reportDetached: break
            }
        }
        return answer
    }

    private mutating func replies(to request: DebugRequest) -> [DebugReply] {
        switch request {
        case .attach: return [.attached(.example), .stopped(.example)]
        case .insertBreakpoint(let kind, let address):
            guard worker.count < 3 else { return [.refused(.noFreeDebugRegister)] }
            worker.insert(.removeBreakpoint(kind, address))
        case .removeBreakpoint: worker.remove(request)
        case .resume:
            resumeCount += 1
            if worker != client { mistakes.append("\(worker) and not \(client)") }
            return [.stopped(.example(.stepped))]
        case .restartGuest:
            restartCount += 1
            worker = []
            return [.done, .stopped(.example)]
        case .detach: worker = []
        case .readMemory: return [.memory([0])]
        case .inspect: return [.report("a line\n")]
        case .readExtendedState: return [.extendedState(.example)]
        case .writeMemory: break
        default: mistakes.append("\(request)")
        }
        return [.done]
    }
}

/// One session, its worker and its clients, with everything that must hold noted when it does not.
private struct RandomGame {
    private var session = DebugSession(identity: TargetIdentity(process: 0x40_0001))
    private var random: SeededGenerator
    private var now: UInt64 = 1_000_000_000

    // The client's side.
    private var isConnected = false
    private var connection: UInt8 = 0

    // The worker's side: what it has not done yet, and what it is doing.
    private var inbox: [(DebugRequest, connection: UInt8)] = []
    private var isAttached = false
    private var isRunning = true
    private var awaitsReply = false

    private(set) var mistakes: [String] = []

    init(seed: UInt64) { random = SeededGenerator(state: seed) }

    mutating func move() {
        switch Int.random(in: 0..<20, using: &random) {
        case 0: if isConnected { loseClient() } else { connect() }
        case 1: now += UInt64.random(in: 1...3_000_000_000, using: &random)
        case 2: if isConnected { receive([0x03]) }
        case 3: if isConnected { receive(randomBytes()) }
        case 4...10: if isConnected { receive(Array(frame(randomBody()).utf8)) }
        case 11...17: work()
        case 18: if isAttached, isRunning { stopGuest(.stepped) }
        default: if !isConnected { connect() }
        }
        if let deadline = session.nextDeadline, now >= deadline {
            take(session.handle(.tick, now: now))
        }
    }

    /// In the end everybody is gone and the guest is free.
    mutating func finish() {
        if isConnected { loseClient() }
        while !inbox.isEmpty { work() }
        if isAttached { mistakes.append("the guest was not let go") }
    }

    // MARK: - Client

    private mutating func connect() {
        isConnected = true
        connection &+= 1
        take(session.handle(.clientConnected, now: now))
        receive(Array(frame("QStartNoAckMode").utf8))
    }

    private mutating func loseClient() {
        isConnected = false
        take(session.handle(.clientLost, now: now))
    }

    private mutating func receive(_ bytes: [UInt8]) {
        take(session.receive(bytes, count: bytes.count, now: now))
    }

    private mutating func randomBody() -> String {
        let bodies = [
            "?", "g", "m5000,40", "m401000,2", "M5000,1:00", "X5000,0:", "Z0,401000,1",
            "z0,401000,1", "vCont;c", "vCont;s:1;c", "c", "c5000", "s", "C05", "D", "D1", "k",
            "vKill;a410", "qCRC:5000,20", "p28", "P0=0100000000000000", "Hg0", "qOffsets",
            "qSupported:qRelocInsn+", "G00", "P28=00", "vCont;c:9", "qRcmd,68", "x5000,4",
            "qSearch:memory:5000;30000;zz", "qMemoryRegionInfo:5000", "Z2,5000,8", "z4,5000,8",
            "vRun;", "R00", "vAttach;400001", "QSaveRegisterState", "QRestoreRegisterState:1",
            "jThreadsInfo", "qThreadStopInfo1", "QThreadSuffixSupported", "QEnableErrorStrings",
            "QListThreadsInStopReply", "qHostInfo", "qRcmd,737461747573", "qRcmd,6d656d2070687973",
            "qXfer:threads:read::0,1000", "vFile:open:61,0,0", "qEcho:1", "!",
            "qXfer:features:read:target.xml:0,20000", "m5000,ffffffffffffffff", "z1,1000,1",
        ]
        return bodies[Int.random(in: 0..<bodies.count, using: &random)]
    }

    private mutating func randomBytes() -> [UInt8] {
        let count = Int.random(in: 1...40, using: &random)
        return (0..<count).map { _ in
            Bool.random(using: &random)
                ? Array("$#+-}%\u{3}0amGZ,;:".utf8)[Int.random(in: 0..<15, using: &random)]
                : UInt8.random(in: 0...255, using: &random)
        }
    }

    // MARK: - Worker

    /// Does the oldest request.
    private mutating func work() {
        guard !inbox.isEmpty else { return }
        let (request, connection) = inbox.removeFirst()
        switch request {
        case .attach:
            say(.attached(.example))
            isAttached = true
            if isRunning { stopGuest(.attached) } else { say(.stopped(.example)) }
        case .readMemory(_, let byteCount):
            let bytes = (0..<Int(byteCount)).map { $0 % 2 == 0 ? 0xC0 : connection }
            say(Bool.random(using: &random) ? .memory(bytes) : .refused(.notMapped))
        case .readPhysicalMemory(_, let byteCount):
            let bytes = (0..<Int(byteCount)).map { $0 % 2 == 0 ? 0xC0 : connection }
            say(Bool.random(using: &random) ? .memory(bytes) : .refused(.notMapped))
        case .describeRegion: say(.everythingIsAHole)
        case .inspect: say(.report("a line\n"))
        case .restartGuest:
            say(.done)
            stopGuest(.entryPoint)
        case .writeMemory, .writePhysicalMemory, .writeRegisters, .writeState, .insertBreakpoint,
            .insertWatchpoint:
            say(Bool.random(using: &random) ? .done : .refused(.notMapped))
        case .removeBreakpoint, .removeWatchpoint:
            if isRunning { mistakes.append("a breakpoint taken out of a running guest") }
            let reply: DebugReply = Bool.random(using: &random) ? .done : .refused(.notMapped)
            take(session.handle(.workerSaid(reply), now: now))
        case .readExtendedState: say(.extendedState(.example))
        case .resume: isRunning = true
        case .interrupt: if isRunning, isAttached { stopGuest(.interrupted) }
        case .detach(let mode):
            isAttached = false
            isRunning = mode != .leaveStopped
            say(.done)
        }
    }

    private mutating func stopGuest(_ reason: StopReason) {
        isRunning = false
        say(.stopped(.example(reason)))
    }

    private mutating func say(_ reply: DebugReply) {
        switch reply {
        case .stopped, .ended: break
        case .done, .refused, .attached, .memory, .extendedState, .region, .report:
            awaitsReply = false
        }
        take(session.handle(.workerSaid(reply), now: now))
    }

    /// A new stub comes: the old one ended itself, because the worker took too long for a goodbye.
    ///
    /// That lets the guest go as well, and closes a next client.
    private mutating func restart() {
        isConnected = false
        session = DebugSession(identity: TargetIdentity(process: 0x40_0001))
        inbox = []
        isAttached = false
        isRunning = true
        awaitsReply = false
    }

    // MARK: - What the session wants

    private mutating func take(_ actions: [DebugSession.Action]) {
        for action in actions {
            switch action {
            case .sendToWorker(let request): note(request)
            case .sendToClient(let bytes): check(bytes)
            case .closeClient:
                if !isConnected { mistakes.append("closed a client that is not there") }
                isConnected = false
            case .exit: restart()
            case .log(.error, let text):
                if text.contains("unexpected") { mistakes.append(text) }
            case .closeWorker: mistakes.append("closed a worker that keeps to the rules")
            case .log, .reportAttached, .reportDetached: break
            }
        }
    }

    private mutating func note(_ request: DebugRequest) {
        switch request {
        case .interrupt, .resume, .removeBreakpoint, .removeWatchpoint: break
        case .attach, .readMemory, .writeMemory, .writeRegisters, .writeState, .readExtendedState,
            .insertBreakpoint, .insertWatchpoint, .describeRegion, .readPhysicalMemory,
            .writePhysicalMemory, .restartGuest, .inspect, .detach:
            if awaitsReply { mistakes.append("two requests at once: \(request)") }
            awaitsReply = true
        }
        inbox.append((request, connection))
    }

    /// Memory that one client asked for must not reach another.
    private mutating func check(_ bytes: [UInt8]) {
        guard isConnected else { return mistakes.append("bytes for nobody") }
        if bytes.count > 2 << 20 { mistakes.append("\(bytes.count) bytes at once") }
        guard bytes.starts(with: "$c0".utf8) else { return }
        let digits = String(connection, radix: 16)
        let own = "$c0" + (digits.count < 2 ? "0" : "") + digits
        if !bytes.starts(with: own.utf8) { mistakes.append("an answer for another client") }
    }
}

/// The same numbers in every run.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
