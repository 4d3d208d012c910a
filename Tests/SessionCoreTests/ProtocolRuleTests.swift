import GuestModel
import SessionCore
import Testing
import WireProtocol

/// Ten rules of the remote protocol that are easy to get wrong, each with what breaks without it.
///
/// `IntegrationTests.ProtocolRules` has the same numbers with real processes.
struct ProtocolRuleTests {
    /// How a client's kind shows: in its `qSupported`, or by a packet that only lldb sends.
    enum Client: CaseIterable {
        case gdb
        case lldb
        case unknown

        func stopped(_ stop: StopEvent = .example) -> Conversation {
            switch self {
            case .gdb: return .stopped(stop)
            case .unknown: return .stopped(stop, features: "qSupported:xmlRegisters=i386")
            case .lldb:
                var conversation = Conversation.stopped(
                    stop, features: "qSupported:xmlRegisters=i386,arm,mips,arc")
                conversation.client("QThreadSuffixSupported")
                return conversation
            }
        }
    }

    // MARK: 1: `k` and a lost connection are no order to end the guest.

    private static let kills = ["k", "vKill;a410", "vKill;400001", "vKill;0000000000400001"]

    @Test(arguments: kills, Client.allCases)
    func `rule 1: the worker is asked to let go, and it knows what onKill says`(
        _ kill: String, _ client: Client
    ) {
        var stopped = client.stopped()
        #expect(stopped.client(kill) == [.sendToWorker(.detach(.kill))])
        var running = client.stopped()
        running.client("vCont;c")
        #expect(running.client(kill) == [.sendToWorker(.detach(.kill))])
    }

    @Test(arguments: Client.allCases)
    func `rule 1: after k lldb hears of an end, gdb reads no more`(_ client: Client) {
        var conversation = client.stopped()
        conversation.client("k")
        let actions = conversation.worker(.done)
        #expect(actions.contains(.says("X09")) == (client != .gdb))
        #expect(actions.contains { $0.isClose } == (client == .gdb))
    }

    @Test(arguments: Client.allCases)
    func `rule 1: a lost connection is a goodbye in every state`(_ client: Client) {
        var attaching = Conversation()
        attaching.happens(.clientConnected)
        attaching.client("qC")
        attaching.happens(.clientLost)
        #expect(attaching.worker(.attached(.example)) == [.sendToWorker(.detach(.asConfigured))])
        var stopped = client.stopped()
        #expect(stopped.happens(.clientLost).last == .sendToWorker(.detach(.asConfigured)))
        var running = client.stopped()
        running.client("vCont;c")
        #expect(running.happens(.clientLost).last == .sendToWorker(.detach(.asConfigured)))
    }

    // MARK: 2: gdb kills what it did not attach to.

    @Test(arguments: ["qAttached", "qAttached:400001", "qAttached:a410", "qAttached:1"])
    func `rule 2: the guest was there before the client, whatever its state`(_ question: String) {
        var attaching = Conversation()
        attaching.happens(.clientConnected)
        #expect(attaching.client(question).last == .says("+", "1"))
        var stopped = Conversation.stopped()
        #expect(stopped.client(question) == [.says("1")])
        var ended = Conversation.running()
        ended.worker(.ended(.finished))
        #expect(ended.client(question) == [.says("1")])
        var lost = Conversation.stopped()
        lost.happens(.workerLost)
        #expect(lost.client(question) == [.says("1")])
    }

    // MARK: 3: `TextSeg` is an address for gdb and a distance for lldb.

    private static let places: [(GuestFacts, gdb: String, lldb: String)] = [
        // Linked at 0 and moved; not moved; linked elsewhere and moved up; moved down.
        (facts(bias: 0x40_0000, first: 0), "400000", "400000"),
        (facts(bias: 0, first: 0x10_0000), "100000", "0"),
        (facts(bias: 0x1000, first: 0x20_0000), "201000", "1000"),
        (facts(bias: 0 &- 0x30_0000, first: 0x40_0000), "100000", "ffffffffffd00000"),
    ]

    private static func facts(bias: UInt64, first: UInt64) -> GuestFacts {
        GuestFacts(loadBias: bias, firstSegmentAddress: first, capabilities: .complete)
    }

    private static let signsOfLLDB = [
        "QThreadSuffixSupported", "QListThreadsInStopReply", "QEnableErrorStrings", "qHostInfo",
    ]

    @Test(arguments: places)
    func `rule 3: gdb is told the first segment's address, lldb the distance`(
        _ facts: GuestFacts, _ gdb: String, _ lldb: String
    ) {
        for features in ["qSupported:qRelocInsn+;xmlRegisters=i386", "qSupported", "qC"] {
            #expect(Self.offsets(facts, [features]) == [.says("+", "TextSeg=\(gdb)")])
        }
        for sign in Self.signsOfLLDB {
            let packets = ["qSupported:xmlRegisters=i386,arm,mips,arc", sign]
            #expect(Self.offsets(facts, packets) == [.says("+", "TextSeg=\(lldb)")])
            #expect(Self.offsets(facts, packets.reversed()) == [.says("+", "TextSeg=\(lldb)")])
        }
    }

    private static func offsets(
        _ facts: GuestFacts, _ packets: [String]
    ) -> [DebugSession.Action] {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        for packet in packets { conversation.client(packet) }
        conversation.worker(.attached(facts))
        conversation.worker(.stopped(.example))
        conversation.worker(.extendedState(.example))
        return conversation.client("qOffsets")
    }

    // MARK: 4: an old lldb takes any other reply to its probe for a form of its own.

    @Test(arguments: Client.allCases)
    func `rule 4: replies to x begin with b, also the empty one`(_ client: Client) {
        var conversation = client.stopped()
        #expect(conversation.client("x0,0") == [.says("b")])
        #expect(conversation.client("xffffffffffffffff,0") == [.says("b")])
        #expect(conversation.client("x401000,0") == [.says("b")])
        #expect(conversation.client("x401002,1") == [.sendToClient(packet("b", [0xF4]))])
        conversation.client("x5000,6")
        #expect(
            conversation.worker(.memory([0x23, 0x24, 0x7D, 0x2A, 0x00, 0x62])) == [
                .sendToClient(
                    packet("b", [0x7D, 0x03, 0x7D, 0x04, 0x7D, 0x5D, 0x7D, 0x0A, 0x00, 0x62]))
            ])
        // Fewer bytes than asked for, none among them.
        conversation.client("x5000,6")
        #expect(conversation.worker(.memory([])) == [.says("b")])
        conversation.client("x5000,6")
        let refusal = conversation.worker(.refused(.notMapped))
        #expect(refusal == [.says("E0e")])
    }

    @Test func `rule 4: x is offered, because gdb uses it only then`() {
        var conversation = Conversation.stopped()
        let actions = conversation.client("qSupported:binary-upload+")
        guard case .sendToClient(let bytes)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(String(decoding: bytes, as: UTF8.self).contains(";binary-upload+"))
    }

    /// `text` and raw bytes as one packet.
    private func packet(_ text: String, _ bytes: [UInt8]) -> [UInt8] {
        let body = Array(text.utf8) + bytes
        let digits = String(body.reduce(UInt8(0), &+), radix: 16)
        return Array("$".utf8) + body + Array("#\(digits.count < 2 ? "0" : "")\(digits)".utf8)
    }

    // MARK: 5: 0x03 is an interrupt only between packets.

    @Test func `rule 5: 0x03 inside a packet is data, however the packet is cut`() {
        let data: [UInt8] = [0x03, 0x03, 0x41, 0x03]
        let bytes = packet("X5000,4:", data)
        for cut in 0...bytes.count {
            var conversation = Conversation.stopped()
            let actions =
                conversation.bytes(Array(bytes[..<cut])) + conversation.bytes(Array(bytes[cut...]))
            #expect(actions == [.sendToWorker(.writeMemory(.init(0x5000), data))])
            #expect(conversation.worker(.done) == [.says("OK")])
        }
    }

    @Test func `rule 5: 0x03 inside a packet halts no running guest, 0x03 behind it does`() {
        let bytes = packet("X5000,2:", [0x03, 0x03])
        var conversation = Conversation.running()
        #expect(conversation.bytes(bytes) == [])
        #expect(conversation.bytes([0x03]) == [.sendToWorker(.interrupt)])
    }

    // MARK: 6: any process id, in any width.

    @Test(arguments: [
        "D", "D;400001", "D;0000000000400001",
        "D;" + String(repeating: "0", count: 1000) + "400001",
        "vKill;400001", "vKill;0000000000400001", "vKill;a410", "vKill;1", "vKill;ffffffffffffffff",
    ])
    func `rule 6: the process id of a goodbye is any that clients invent`(_ goodbye: String) {
        var conversation = Conversation.stopped()
        let actions = conversation.client(goodbye)
        #expect(actions.count == 1)
        guard case .sendToWorker(.detach)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(conversation.worker(.done).last == .says("OK"))
    }

    @Test(arguments: [
        "Hg1", "Hg01", "Hg0001", "Hg0", "Hg-1", "Hgp400001.1", "Hgp0000000000400001.0001",
        "Hgp400001.-1", "Hgp400001", "Hgp0.0", "Hgp-1", "Hc-1", "T1", "T0001", "Tp400001.1",
    ])
    func `rule 6: a thread id has any width and form`(_ packet: String) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(packet) == [.says("OK")])
    }

    @Test(arguments: ["p10", "p10;thread:1", "p10;thread:0001;", "p10;thread:p400001.1;"])
    func `rule 6: lldb's thread suffix is padded`(_ packet: String) {
        var conversation = Client.lldb.stopped()
        #expect(conversation.client(packet) == [.says("0010400000000000")])
    }

    @Test func `rule 6: the process id that we tell is none that Linux gives`() {
        var conversation = Conversation.stopped(features: "qSupported:multiprocess+;qRelocInsn+")
        #expect(conversation.client("qC") == [.says("QCp400001.1")])
        // PID_MAX_LIMIT: an editor that sends a signal to it hits nobody.
        #expect(0x40_0001 > 4 << 20)
    }

    // MARK: 7: an inserted breakpoint is the worker's; gdb takes it out and in at each stop.

    @Test
    func `rule 7: each insertion reaches the worker, each removal with what follows`() {
        var conversation = Conversation.stopped()
        let address = GuestVirtualAddress(0x40_1001)
        for _ in 0..<3 {
            #expect(
                conversation.client("Z0,401001,1")
                    == [.sendToWorker(.insertBreakpoint(.software, address))])
            #expect(conversation.worker(.done) == [.says("OK")])
        }
        // What was known of memory is the original, and stays so.
        #expect(conversation.client("m401000,4") == [.says("90ccf400")])
        for _ in 0..<2 { #expect(conversation.client("z0,401001,1") == [.says("OK")]) }
        #expect(conversation.client("m401000,4") == [.says("90ccf400")])
        let removal = DebugSession.Action.sendToWorker(.removeBreakpoint(.software, address))
        #expect(
            conversation.client("vCont;s:1") == [removal, .sendToWorker(.resume(.step))])
        #expect(conversation.worker(.done) == [])
    }

    @Test func `rule 7: a write goes to the worker, and the next read is not of before`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("M401001,1:90")
                == [.sendToWorker(.writeMemory(.init(0x40_1001), [0x90]))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(
            conversation.client("m401001,1")
                == [.sendToWorker(.readMemory(.init(0x40_1001), byteCount: 1))])
    }

    @Test func `rule 7: the program counter of a hit is the breakpoint's address`() {
        var conversation = Conversation.running()
        let reason = StopReason.softwareBreakpoint(.init(0x40_1000))
        #expect(
            conversation.worker(.stopped(.example(reason))) == [.says("T05swbreak:;" + expedited)])
        #expect(conversation.client("p10") == [.says("0010400000000000")])
    }

    // MARK: 8: not supported is an empty reply, failed is an error.

    @Test(arguments: [
        "vMustReplyEmpty", "qNonsense", "QNonsense", "vNonsense;1", "jNonsense", "Z5,1000,1",
        "z9,1000,1", "Z3,1000,8", "z3,1000,8", "_M1000,rx", "qRegisterInfo0", "qTStatus", "bs",
        "QNonStop:1", "qXfer:auxv:read::0,100", "qXfer:nonsense:read::0,100", "A0", "B", "r", "t",
        "i", "e", "?x", "kx", "Hx1", "\u{7F}",
    ])
    func `rule 8: what is not supported gets the empty reply`(_ packet: String) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(packet) == [.says("")])
    }

    private static let refusals: [(String, DebugRefusal, String)] = [
        ("m5000,1", .notMapped, "E0e"), ("x5000,1", .notMapped, "E0e"),
        ("M5000,1:00", .notMapped, "E0e"), ("Z0,5000,1", .notMapped, "E0e"),
        ("Z1,5000,1", .noFreeDebugRegister, "E1c"), ("Z2,5000,8", .noFreeDebugRegister, "E1c"),
        ("Z4,5000,8", .notSupported, "E13"), ("Z0,5000,1", .tooManyBreakpoints, "E01"),
        ("Z2,5000,8", .readOnly, "E0d"), ("qMemoryRegionInfo:5000", .notSupported, "E13"),
        ("qSearch:memory:5000;8;A", .notMapped, "E0e"), ("qCRC:5000,8", .notMapped, "E0e"),
        ("vRun;", .notSupported, "E13"), ("P0=0100000000000000", .running, "E10"),
    ]

    @Test(arguments: refusals)
    func `rule 8: what fails is an error, never the empty reply`(
        _ packet: String, _ refusal: DebugRefusal, _ answer: String
    ) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(packet).count == 1)
        #expect(conversation.worker(.refused(refusal)) == [.says(answer)])
    }

    @Test(arguments: [
        "m", "m,", "mzz,8", "m0", "x", "x0", "M0,8:00", "M0,1:0", "M0,1:zz", "X0,2:a", "p", "pzz",
        "p42", "P0=1", "P0=zz", "P0", "G0", "Gzz", "Z0", "Z0,zz,1", "Z0,1", "Z0,1,1;X1,1", "z1,1",
        "Z2,1000,0", "Z2,1000,ffffffffffffffff", "vCont;", "vCont;q", "vCont;r1:1", "vKill;",
        "vAttach;", "D;", "D;zz", "C", "Czz", "C100", "c1,2", "qCRC:", "qCRC:1",
        "qSearch:memory:1;2;",
        "qMemoryRegionInfo:", "qMemoryRegionInfo:x", "QRestoreRegisterState:", "qRcmd,6",
        "qXfer:features:read:target.xml:", "qXfer:features:read:target.xml:0", "qRcmd,zz",
        "m10000000000000000,1", "m0,10000000000000000",
    ])
    func `rule 8: what is malformed is an error and does nothing`(_ packet: String) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(packet) == [.says("E16")])
    }

    // MARK: 9: clients wait a second or two for answers; a guest may take longer to halt.

    @Test(arguments: [
        "qSupported:multiprocess+", "vMustReplyEmpty", "QThreadSuffixSupported", "qHostInfo",
        "QListThreadsInStopReply", "QEnableErrorStrings", "qProcessInfo", "vCont?", "qC",
        "qfThreadInfo", "qsThreadInfo", "qAttached", "Hg0", "Hc-1", "T1", "qSymbol::", "!",
        "qThreadExtraInfo,1", "qWatchpointSupportInfo:", "qEcho:1", "qTStatus", "vFile:setfs:0",
        "qXfer:threads:read::0,1000", "qRcmd,68656c70",
        "qXfer:exec-file:read::0,1000", "qVAttachOrWaitSupported", "qStructuredDataPlugins",
        "QStartNoAckMode",
    ])
    func `rule 9: a question that needs no guest is answered while the guest is being halted`(
        _ question: String
    ) {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        let first = conversation.client(question)
        #expect(first.contains(.sendToWorker(.attach)))
        #expect((first.last?.byteCount ?? 0) > 4, "\(first)")
        let second = conversation.client(question)
        #expect((second.last?.byteCount ?? 0) > 4, "\(second)")
        #expect(!second.contains { if case .sendToWorker = $0 { true } else { false } })
        // And between the worker's two messages.
        conversation.worker(.attached(.example))
        #expect((conversation.client(question).last?.byteCount ?? 0) > 4)
    }

    @Test func `rule 9: registers are described once the driver is known, halted or not`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        let question = "qXfer:features:read:target.xml:0,5"
        #expect(conversation.client(question).last == .says("+"))
        #expect(conversation.worker(.attached(.example)) == [.says("m<?xml")])
        #expect(conversation.client(question) == [.says("+", "m<?xml")])
    }

    // MARK: 10: after `W` and `X` the client closes first.

    private static let ends: [(DebugSession.Event, String)] = [
        (.workerSaid(.ended(.finished)), "W00"), (.workerSaid(.ended(.killed)), "X09"),
        (.workerSaid(.ended(.crashed(.tripleFault))), "X0b"), (.workerLost, "X09"),
    ]

    @Test(arguments: ends)
    func `rule 10: after the guest's end the client closes first, within five seconds`(
        _ end: DebugSession.Event, _ answer: String
    ) {
        var patient = Conversation.running()
        let told = patient.happens(end)
        #expect(!told.contains { $0.isClose })
        #expect(patient.client("?") == [.says(answer)])
        #expect(!patient.happens(.workerLost).contains { $0.isClose })
        for _ in 0..<4 { #expect(patient.seconds(1) == []) }
        #expect(patient.client("?") == [.says(answer)])
        #expect(patient.seconds(1).contains { $0.isClose })

        var prompt = Conversation.running()
        prompt.happens(end)
        #expect(!prompt.happens(.clientLost).contains { $0.isClose })
        #expect(prompt.nextDeadline == nil)
    }
}
