import Glibc
import GuestModel
import LinuxSystem
import Testing
import WireProtocol

/// The whole program, confined, on real sockets.
@Suite(.serialized)
struct StubProcessTests {
    private static let stop =
        "$T05thread:1;10:0010000000000000;6:0000000000000000;7:0000000000000000;"
        + "11:02000000;core:0;#ac"

    private var stopped: DebugReply {
        var state = VCPUState()
        state.general.rip = 0x1000
        let window = MemoryWindow(start: .init(0x1000), bytes: [0x90, 0xF4])
        return .stopped(StopEvent(reason: .stepped, state: state, windows: [window]))
    }

    /// A stub with one client in front of a guest that stands.
    private func attached() throws -> (StubProcess, StubClient) {
        let stub = try StubProcess()
        let client = try stub.connect()
        client.say("+$?#3f")
        try client.expect("+")
        #expect(try stub.notice() == .clientAttached("unix"))
        #expect(try stub.request() == .attach)
        stub.answer(
            .attached(GuestFacts(loadBias: 0, firstSegmentAddress: 0, capabilities: .complete)))
        stub.answer(stopped)
        try client.expect(Self.stop)
        #expect(try stub.request() == .readExtendedState)
        stub.answer(.extendedState(nil))
        return (stub, client)
    }

    @Test func `a client reads memory near the stop and steps`() throws {
        let (stub, client) = try attached()
        client.say("+$m1000,2#8c")
        try client.expect("+$90f4#03")
        client.say("+$s#73")
        try client.expect("+")
        #expect(try stub.request() == .resume(.step))
        stub.answer(stopped)
        try client.expect(Self.stop)
    }

    @Test func `a client that vanishes lets the guest go and the next one is served`() throws {
        let stub = try {
            let (stub, _) = try attached()
            return stub
        }()
        #expect(try stub.request() == .detach(.asConfigured))
        #expect(try stub.notice() == .clientDetached("connection lost"))
        stub.answer(.done)
        let next = try stub.connect()
        next.say("$?#3f")
        try next.expect("+")
        #expect(try stub.request() == .attach)
    }

    @Test func `a client that is gone before its answers leaves the requests in their order`()
        throws
    {
        let stub = try {
            let (stub, client) = try attached()
            // It reads all this, and that the client is gone, in one go; each `-` wants an answer again.
            stub.process.signal(SIGSTOP)
            client.say("---$c#63")
            return stub
        }()
        stub.process.signal(SIGCONT)
        #expect(try stub.request() == .resume(.continue))
        #expect(try stub.request() == .detach(.asConfigured))
        stub.answer(.done)
        #expect(try stub.notice() == .clientDetached("connection lost"))
        let next = try stub.connect()
        next.say("$?#3f")
        try next.expect("+")
        #expect(try stub.request() == .attach)
    }

    @Test func `a client that has said nothing makes room for the next one`() throws {
        let stub = try StubProcess()
        let silent = try stub.connect()
        let next = try stub.connect()
        #expect(try silent.waitForEnd() == "")
        #expect(try stub.notice() == .clientRejected("unix: silent, and unix came"))
        next.say("$qC#b4")
        try next.expect("+$QC1#c5")
    }

    @Test func `a second client is told why it must go`() throws {
        let (stub, client) = try attached()
        let second = try stub.connect()
        second.say("+$qSupported#37")
        let answer = try second.waitForEnd()
        #expect(answer == "+$E.another debugger is attached (unix)#58")
        client.say("+$qC#b4")
        try client.expect("+$QC1#c5")
    }

    private static func packets(_ bodies: String...) -> String {
        bodies.map { body in
            let digits = String(body.utf8.reduce(UInt8(0), &+), radix: 16)
            return "$\(body)#\(digits.count < 2 ? "0" : "")\(digits)"
        }.joined()
    }

    private static let everything = packets(
        "qSupported:error-message+", "QStartNoAckMode", "?", "g", "m1000,2", "m5000,8",
        "M5000,1:00", "X5000,1:a", "P0=0100000000000000", "G00", "Z0,1000,1", "Z1,1000,1",
        "Z2,1000,8", "z0,1000,1", "vCont;c", "c", "s", "C0b", "vRun;", "R00", "vAttach;400001",
        "qRcmd,737461747573", "qCRC:1000,2", "qSearch:memory:1000;2;a", "qMemoryRegionInfo:1000",
        "qOffsets", "jThreadsInfo", "D", "D1", "vKill;400001", "k")

    /// What a client may send first, all at once, and whether it is told something.
    private static let firstSegments: [(String, isTold: Bool)] = [
        (everything, true), ("+" + everything, true), ("\u{3}" + everything, true),
        ("\u{3}\u{3}\u{3}" + packets("k"), true), ("-" + packets("vCont;c"), true),
        (packets("D"), true), (packets("k"), true), (packets("vKill;a410"), true),
        ("$k#00" + packets("k"), true), ("\u{3}", false), ("+", false), ("$k#6", false),
        ("GET /?" + everything + " HTTP/1.1\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n" + everything, false),
        ("OPTIONS * HTTP/1.1\r\n\r\n" + everything, false),
        ("\u{16}\u{3}\u{1}" + everything, false),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + everything, false), ("\r\n" + everything, false),
        ("SSH-2.0-x\r\n" + everything, false), ("k" + everything, false),
        ("\0" + everything, false),
    ]

    @Test(arguments: firstSegments.indices)
    func `nothing of a refused client reaches the worker`(index: Int) throws {
        let (segment, isTold) = Self.firstSegments[index]
        let (stub, client) = try attached()
        let second = try stub.connect()
        second.say(segment)
        let answer = try second.waitForEnd()
        #expect(
            answer == (isTold ? "+$E.another debugger is attached (unix)#58" : ""))
        // The next that the worker is asked for is what the first client wants.
        client.say("+" + Self.packets("m5000,4"))
        #expect(try stub.request() == .readMemory(.init(0x5000), byteCount: 4))
        stub.answer(.memory([1, 2, 3, 4]))
        try client.expect("+" + Self.packets("01020304"))
    }

    @Test(arguments: firstSegments.indices)
    func `nothing of a refused client reaches the worker of a guest that runs`(
        index: Int
    ) throws {
        let (segment, _) = Self.firstSegments[index]
        let (stub, client) = try attached()
        client.say("+" + Self.packets("c"))
        try client.expect("+")
        #expect(try stub.request() == .resume(.continue))
        let second = try stub.connect()
        second.say(segment)
        _ = try second.waitForEnd()
        #expect(stub.hasAskedNothing)
        client.say("\u{3}")
        #expect(try stub.request() == .interrupt)
        stub.answer(stopped)
        try client.expect(Self.stop)
    }

    @Test(arguments: firstSegments.filter { !$0.isTold && $0.0.utf8.count > 4 }.map(\.0))
    func `nothing of what no debugger sends reaches the worker`(segment: String) throws {
        let stub = try StubProcess()
        let stranger = try stub.connect()
        stranger.say(segment)
        #expect(try stranger.waitForEnd() == "")
        #expect(
            try stub.notice() == .clientRejected("unix: the first byte is not a debugger's"))
        #expect(stub.hasAskedNothing)
        let client = try stub.connect()
        client.say(Self.packets("qC"))
        try client.expect("+$QC1#c5")
        #expect(try stub.notice() == .clientAttached("unix"))
        #expect(try stub.request() == .attach)
    }

    @Test func `a crowd of silent strangers does not keep the next one from its words`() throws {
        let (stub, client) = try attached()
        var crowd: [StubClient] = []
        for _ in 0..<4 { crowd.append(try stub.connect()) }
        let start = monotonicNanoseconds()
        let last = try stub.connect()
        last.say("+$qSupported#37")
        #expect(try last.waitForEnd() == "+$E.another debugger is attached (unix)#58")
        // Without the crowd a stranger has a second.
        #expect(monotonicNanoseconds() - start < 900_000_000)
        client.say("+$qC#b4")
        try client.expect("+$QC1#c5")
        withExtendedLifetime(crowd) {}
    }

    @Test func `a stub without descriptors for a client rests instead of spinning`() throws {
        let (stub, client) = try attached()
        let all = try stub.limitDescriptors(to: 8)
        let second = try stub.connect()
        second.say("+$qC#b4")
        let refused = StubNotice.log(
            .warning, "no client can be taken in: accept: Too many open files")
        #expect(try stub.notice() == refused)
        // One try a second: the second refusal comes a second after the first, for next to nothing.
        let used = stub.processorNanoseconds
        let start = monotonicNanoseconds()
        #expect(try stub.notice() == refused)
        #expect(monotonicNanoseconds() - start > 900_000_000)
        #expect(stub.processorNanoseconds - used < 50_000_000)
        _ = try stub.limitDescriptors(to: all)
        #expect(try second.waitForEnd() == "+$E.another debugger is attached (unix)#58")
        client.say("+$qC#b4")
        try client.expect("+$QC1#c5")
    }

    @Test func `a client that is replaced at once is not in the way of the next`() throws {
        let stub = try StubProcess()
        try vanishingClient(of: stub)
        let next = try stub.connect()
        next.say("+$qC#b4")
        // Kept until the worker has let the guest go, and answered instead of refused.
        #expect(try stub.request() == .attach)
        stub.answer(
            .attached(GuestFacts(loadBias: 0, firstSegmentAddress: 0, capabilities: .complete)))
        #expect(try stub.request() == .detach(.asConfigured))
        stub.answer(.done)
        try next.expect("+$QC1#c5")
    }

    /// Sends its last packet and is gone before it is read.
    private func vanishingClient(of stub: StubProcess) throws {
        let client = try stub.connect()
        client.say("+$qC#b4")
    }

    @Test func `a browser is shut out, and the supervisor told`() throws {
        let stub = try StubProcess()
        let browser = try stub.connect()
        browser.say("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n$vCont;c#a8")
        #expect(try browser.waitForEnd() == "")
        #expect(
            try stub.notice() == .clientRejected("unix: the first byte is not a debugger's"))
        let client = try stub.connect()
        client.say("$qC#b4")
        try client.expect("+$QC1#c5")
    }

    @Test func `a polite stop detaches first`() throws {
        let (stub, client) = try attached()
        stub.order(.stop)
        #expect(try stub.request() == .detach(.asConfigured))
        _ = try client.waitForEnd()
        stub.answer(.done)
        #expect(try stub.end() == .exited(0))
    }

    @Test func `the supervisor's end detaches first`() throws {
        let (stub, client) = try attached()
        _ = shutdown(stub.control.rawValue, Int32(SHUT_RDWR))
        #expect(try stub.request() == .detach(.asConfigured))
        _ = try client.waitForEnd()
        stub.answer(.done)
        #expect(try stub.end() == .exited(0))
    }

    @Test func `a polite stop without a client ends at once`() throws {
        let stub = try StubProcess()
        stub.order(.stop)
        #expect(try stub.end() == .exited(0))
    }

    @Test func `garbage from the worker ends its link and not the stub`() throws {
        let (stub, client) = try attached()
        client.say("+$c#63")
        try client.expect("+")
        #expect(try stub.request() == .resume(.continue))
        _ = send(stub.worker, [1, 2, 3])
        try client.expect("$X09#c1")
        #expect(throws: StubProcess.Failure.ended) { try stub.request() }
    }

    @Test func `a worker that answers what nobody asked is left while the client stays`() throws {
        let (stub, client) = try attached()
        stub.answer(.memory([1]))
        #expect(throws: StubProcess.Failure.ended) { try stub.request() }
        client.say("+$vCont;c#a8")
        try client.expect("+$X09#c1")
    }

    @Test func `a megabyte in one packet is refused and the next one served`() throws {
        let (_, client) = try attached()
        client.say("+$")
        for _ in 0..<32 { client.sayAll(String(repeating: "a", count: 32768)) }
        client.sayAll("#00")
        try client.expect("+$E16#ac")
        client.say("+$qC#b4")
        try client.expect("+$QC1#c5")
    }
}
