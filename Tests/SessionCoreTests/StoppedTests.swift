import GuestModel
import SessionCore
import Testing
import WireProtocol

struct MemoryTests {
    @Test func `registers that wait for a worker that says nothing are answered`() {
        var conversation = Conversation.stopped()
        conversation.client("g")
        conversation.client("vCont;s:1")
        conversation.worker(.stopped(.example(.stepped)))
        #expect(conversation.client("g") == [])
        #expect(conversation.seconds(5).last == .says("E05"))
    }

    @Test func `a flood of packets in one piece ends the session`() {
        var conversation = Conversation.stopped()
        let flood = String(repeating: frame("qXfer:features:read:target.xml:0,20000"), count: 1500)
        let actions = conversation.bytes(flood)
        #expect(actions.contains { $0.isClose })
        #expect(actions.allSatisfy { $0.byteCount < 3 << 19 })
    }

    @Test func `sixteen packets may wait for the worker, one more ends the session`() {
        var conversation = Conversation.stopped()
        let question = frame("m5000,1")
        let first = conversation.bytes(String(repeating: question, count: 17))
        #expect(first == [.sendToWorker(.readMemory(.init(0x5000), byteCount: 1))])
        var answers = 0
        while answers < 17, conversation.worker(.memory([0x41])).contains(.says("41")) {
            answers += 1
        }
        #expect(answers == 17)
        #expect(!conversation.bytes(String(repeating: question, count: 17)).contains { $0.isClose })
        #expect(conversation.bytes(question).contains { $0.isClose })
    }

    @Test(arguments: [("m401000,4", "90ccf400"), ("m401001,1", "cc"), ("m401000,0", "")])
    func `memory near the stop is answered without the worker`(
        _ question: String, _ answer: String
    ) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(question) == [.says(answer)])
    }

    @Test func `other memory is asked of the worker`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("m401002,4")
                == [.sendToWorker(.readMemory(.init(0x40_1002), byteCount: 4))])
        #expect(conversation.worker(.memory([1, 2, 3])) == [.says("010203")])
    }

    @Test func `binary memory is marked and escaped`() {
        var conversation = Conversation.stopped()
        conversation.client("x10,2")
        #expect(conversation.worker(.memory([0x23, 0x41])) == [.says("b}\u{3}A")])
        #expect(conversation.client("x0,0") == [.says("b")])
    }

    @Test func `memory that is not there is an error`() {
        var conversation = Conversation.stopped()
        conversation.client("m0,8")
        #expect(conversation.worker(.refused(.notMapped)) == [.says("E0e")])
    }

    @Test func `a write reaches the worker and what was known is forgotten`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("X401001,2:ab")
                == [.sendToWorker(.writeMemory(.init(0x40_1001), [0x61, 0x62]))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(
            conversation.client("m401000,1")
                == [.sendToWorker(.readMemory(.init(0x40_1000), byteCount: 1))])
    }

    @Test func `the probe for binary writes costs nothing`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("X40312c,0:") == [.says("OK")])
    }

    @Test func `a checksum is made piece by piece`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("qCRC:1000,10004")
                == [.sendToWorker(.readMemory(.init(0x1000), byteCount: 0x10000))])
        let zeros = [UInt8](repeating: 0, count: 0x10000)
        #expect(
            conversation.worker(.memory(zeros))
                == [.sendToWorker(.readMemory(.init(0x11000), byteCount: 4))])
        guard case .sendToClient(let bytes) = conversation.worker(.memory([1, 2, 3, 4])).first
        else {
            Issue.record("no answer")
            return
        }
        #expect(bytes.count == 4 + 9)
        #expect(bytes[1] == UInt8(ascii: "C"))
    }

    @Test func `the checksum is that of the manual`() {
        var conversation = Conversation.stopped()
        conversation.client("qCRC:1000,9")
        // CRC-32/MPEG-2 of "123456789".
        #expect(conversation.worker(.memory(Array("123456789".utf8))) == [.says("C0376e6e7")])
    }

    @Test func `a checksum over a hole is an error`() {
        var conversation = Conversation.stopped()
        conversation.client("qCRC:1000,10")
        #expect(conversation.worker(.memory([1])) == [.says("E0e")])
    }
}

struct RegisterSessionTests {
    @Test func `one register is answered without the worker`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("p10") == [.says("0010400000000000")])
    }

    @Test func `all registers are asked for once a stop`() {
        var conversation = Conversation.running()
        conversation.worker(.stopped(.example(.stepped)))
        conversation.client("vCont;s:1;c")
        #expect(conversation.worker(.stopped(.example(.stepped))) == [.says("T05" + expedited)])
        #expect(conversation.client("g") == [.sendToWorker(.readExtendedState)])
        #expect(conversation.worker(.extendedState(.example)).count == 1)
        #expect(conversation.client("g").allSatisfy { $0 != .sendToWorker(.readExtendedState) })
    }

    @Test func `a client that reads all registers finds them there at the next stop`() {
        var conversation = Conversation.stopped()
        conversation.client("g")
        conversation.client("vCont;s:1;c")
        #expect(
            conversation.worker(.stopped(.example(.stepped))) == [
                .says("T05" + expedited), .sendToWorker(.readExtendedState),
            ])
        #expect(conversation.client("g") == [])
        #expect(conversation.worker(.extendedState(.example)).count == 1)
    }

    @Test func `a driver without x87 and SSE is asked only once`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        conversation.client("QStartNoAckMode")
        conversation.worker(.attached(.example))
        #expect(conversation.worker(.stopped(.example)) == [.sendToWorker(.readExtendedState)])
        #expect(conversation.worker(.extendedState(nil)) == [])
        #expect(conversation.client("g").allSatisfy { $0 != .sendToWorker(.readExtendedState) })
        conversation.client("s")
        #expect(conversation.worker(.stopped(.example(.stepped))) == [.says("T05" + expedited)])
        #expect(conversation.client("g").allSatisfy { $0 != .sendToWorker(.readExtendedState) })
    }

    @Test func `a written register goes through to the worker and is read back`() {
        var conversation = Conversation.stopped()
        var registers = VCPUState.example.general
        registers.rbx = 0x1122
        #expect(
            conversation.client("P1=2211000000000000")
                == [.sendToWorker(.writeRegisters(registers))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("p1") == [.says("2211000000000000")])
        #expect(conversation.client("p0") == [.says("0000000000000000")])
    }

    @Test func `a guest that answers too late is not asked for a report meanwhile`() {
        var conversation = Conversation.stopped()
        conversation.client("m100000,4")
        #expect(conversation.seconds(6).last == .says("E05"))
        #expect(conversation.client("qRcmd," + hexText("status")) == [.says("E05")])
        #expect(conversation.worker(.memory([1, 2, 3, 4])) == [])
        #expect(
            conversation.client("qRcmd," + hexText("status")) == [.sendToWorker(.inspect(.status))])
    }

    @Test func `a written FS base goes through to the worker and is read back`() {
        var conversation = Conversation.stopped()
        var state = VCPUState.example
        state.system.fs.base = 0x1122
        let write = StateWrite(state, extended: nil)
        #expect(conversation.client("P39=2211000000000000") == [.sendToWorker(.writeState(write))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("p39") == [.says("2211000000000000")])
    }

    @Test func `CR2 takes what a client puts back after a called function, CR3 does not`() {
        var conversation = Conversation.stopped()
        var state = VCPUState.example
        state.system.cr2 = 0x1122
        #expect(
            conversation.client("P3d=2211000000000000")
                == [.sendToWorker(.writeState(StateWrite(state, extended: nil)))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("p3d") == [.says("2211000000000000")])
        #expect(conversation.client("P3e=2211000000000000") == [.says("E0d")])
    }

    @Test func `a written SSE register goes through to the worker and is read back`() throws {
        var conversation = Conversation.stopped()
        let state = VCPUState.example
        // xmm0 lies at byte 160 of an FXSAVE area.
        var bytes = try #require(ExtendedState.example).bytes
        bytes.replaceSubrange(160..<176, with: [UInt8](repeating: 0x5A, count: 16))
        let write = StateWrite(
            state, extended: ExtendedState(fxsave: bytes))
        let value = String(repeating: "5a", count: 16)
        #expect(conversation.client("P28=\(value)") == [.sendToWorker(.writeState(write))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("p28") == [.says(value)])
    }

    @Test func `a client reads and writes the upper halves of a guest that has AVX on`() throws {
        var conversation = Conversation.stopped(facts: .withAVX, extended: .withAVX)
        let description = text(conversation.client("qXfer:features:read:target.xml:0,20000"))
        #expect(description.contains("org.gnu.gdb.i386.avx"))
        #expect(text(conversation.client("g")).utf8.count == 2 * 864 + 4)
        #expect(conversation.client("p42") == [.says(String(repeating: "11", count: 16))])
        let state = VCPUState.example
        let upper = [UInt8](repeating: 0x5A, count: 16) + [UInt8](repeating: 0x11, count: 240)
        let write = StateWrite(
            state,
            extended: ExtendedState(
                fxsave: [UInt8](repeating: 0, count: 512), upperYMM: upper, kernelGSBase: 0x10))
        let value = String(repeating: "5a", count: 16)
        #expect(conversation.client("P42=\(value)") == [.sendToWorker(.writeState(write))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("p42") == [.says(value)])
    }

    @Test func `a client of a guest that has AVX off hears nothing of it`() {
        var conversation = Conversation.stopped(extended: .withAVX)
        let description = text(conversation.client("qXfer:features:read:target.xml:0,20000"))
        #expect(!description.contains("ymm"))
        #expect(text(conversation.client("g")).utf8.count == 2 * 608 + 4)
        #expect(conversation.client("p42") == [.says("E16")])
    }

    @Test func `the kernel GS base is read and written`() {
        var conversation = Conversation.stopped(extended: .withAVX)
        #expect(conversation.client("p3b") == [.says("1000000000000000")])
        let state = VCPUState.example
        let write = StateWrite(
            state,
            extended: ExtendedState(
                fxsave: [UInt8](repeating: 0, count: 512),
                upperYMM: [UInt8](repeating: 0x11, count: 256), kernelGSBase: 0x2000))
        #expect(
            conversation.client("P3b=0020000000000000") == [.sendToWorker(.writeState(write))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("p3b") == [.says("0020000000000000")])
    }

    private func text(_ actions: [Conversation.Action]) -> String {
        guard case .sendToClient(let bytes) = actions.first, actions.count == 1 else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func `a refused write leaves the register as it was`() {
        var conversation = Conversation.stopped()
        conversation.client("P1=2211000000000000")
        #expect(conversation.worker(.refused(.invalid)) == [.says("E16")])
        #expect(conversation.client("p1") == [.says("0000000000000000")])
    }

    @Test(arguments: [
        ("P10=0010400000000000", "OK"), ("P12=01000000", "E0d"), ("P12=00000000", "OK"),
        ("P10=00", "E16"), ("P42=00", "E16"), ("G00", "OK"),
    ])
    func `a write that needs no worker is answered`(_ command: String, _ answer: String) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(command) == [.says(answer)])
    }
}

struct BreakpointSessionTests {
    private static let table: [(String, DebugRequest, DebugReply, String)] = [
        ("Z0,401130,1", .insertBreakpoint(.software, .init(0x40_1130)), .done, "OK"),
        ("Z1,401130,1", .insertBreakpoint(.hardware, .init(0x40_1130)), .done, "OK"),
        (
            "Z1,401130,1", .insertBreakpoint(.hardware, .init(0x40_1130)),
            .refused(.noFreeDebugRegister), "E1c"
        ),
        (
            "Z0,0,1", .insertBreakpoint(.software, .init(0)), .refused(.notMapped), "E0e"
        ),
        (
            "Z0,0,1", .insertBreakpoint(.software, .init(0)), .refused(.tooManyBreakpoints), "E01"
        ),
        (
            "Z1,0,1", .insertBreakpoint(.hardware, .init(0)), .refused(.notSupported), "E13"
        ),
    ]

    @Test(arguments: table)
    func `breakpoints are the worker's`(
        _ command: String, _ request: DebugRequest, _ reply: DebugReply, _ answer: String
    ) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(command) == [.sendToWorker(request)])
        #expect(conversation.worker(reply) == [.says(answer)])
    }

    private static let watched = GuestVirtualRange(start: .init(0x1000), byteCount: 4)

    @Test(arguments: [("2", WatchKind.write), ("4", .access)])
    func `watchpoints are the worker's`(_ type: String, _ kind: WatchKind) throws {
        let watchpoint = try #require(Self.watched.flatMap { Watchpoint(kind, $0) })
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("Z\(type),1000,4")
                == [.sendToWorker(.insertWatchpoint(watchpoint))])
        #expect(conversation.worker(.refused(.noFreeDebugRegister)) == [.says("E1c")])
        #expect(conversation.client("z\(type),1000,4") == [.says("OK")])
        #expect(
            conversation.client("M5000,1:5a")
                == [
                    .sendToWorker(.removeWatchpoint(watchpoint)),
                    .sendToWorker(.writeMemory(.init(0x5000), [0x5A])),
                ])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.worker(.done) == [.says("OK")])
    }

    private static let removal = DebugSession.Action.sendToWorker(
        .removeBreakpoint(.software, .init(0x40_1130)))

    @Test func `a removal waits for the request that it matters to, and no answer for it`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(
            conversation.client("m5000,1")
                == [.sendToWorker(.readMemory(.init(0x5000), byteCount: 1))])
        #expect(conversation.worker(.memory([0x5A])) == [.says("5a")])
        #expect(
            conversation.client("vCont;c") == [Self.removal, .sendToWorker(.resume(.continue))])
        #expect(conversation.worker(.done) == [])
        #expect(
            conversation.worker(.stopped(.example(.stepped))) == [.says("T05" + expedited)])
        #expect(conversation.client("Z0,401130,1").count == 1)
        #expect(conversation.worker(.done) == [.says("OK")])
    }

    /// A session whose client has put this breakpoint in and taken it out again.
    private func conversation(inserting insertion: String) -> Conversation {
        var conversation = Conversation.stopped()
        #expect(conversation.client(insertion).count == 1)
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client(insertion.lowercased()) == [.says("OK")])
        return conversation
    }

    @Test(arguments: ["Z0,401130,1", "Z1,401130,1", "Z2,401130,4", "Z4,401130,4"])
    func `what is put back before the guest goes on has never been out`(insertion: String) {
        var conversation = conversation(inserting: insertion)
        #expect(conversation.client(insertion) == [.says("OK")])
        #expect(conversation.client("vCont;c") == [.sendToWorker(.resume(.continue))])
    }

    @Test(
        arguments: [
            "vCont;c", "vCont;s:1", "vCont;r401000,401010", "M5000,1:00", "P0=0100000000000000",
            "Z1,401000,1", "qRcmd,657869747320",
        ])
    func `what is out goes ahead of what it matters to`(_ next: String) {
        var conversation = conversation(inserting: "Z0,401130,1")
        #expect(conversation.client(next).first == Self.removal)
    }

    @Test(arguments: ["m5000,1", "qMemoryRegionInfo:5000", "vRun;", "D"])
    func `what is out is not told where it makes no difference`(_ next: String) {
        var conversation = conversation(inserting: "Z0,401130,1")
        #expect(conversation.client(next).count == 1)
    }

    @Test func `nothing is told of breakpoints while the guest runs`() {
        var conversation = conversation(inserting: "Z0,401130,1")
        #expect(conversation.client("vCont;s:1").count == 2)
        #expect(conversation.bytes("\u{3}") == [.sendToWorker(.interrupt)])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.client("D") == [.sendToWorker(.detach(.asConfigured))])
    }

    @Test func `what was never put in, or is gone, is put in by the worker`() {
        var conversation = Conversation.stopped()
        let insertion = DebugSession.Action.sendToWorker(
            .insertBreakpoint(.software, .init(0x40_1130)))
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("Z0,401130,1") == [Self.removal, insertion])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.worker(.refused(.notMapped)) == [.says("E0e")])
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("Z0,401130,1") == [Self.removal, insertion])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.worker(.done) == [.says("OK")])
        // Another kind at the same place is another breakpoint.
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("Z1,401130,1").count == 2)
    }

    @Test func `a guest that is loaded anew has no breakpoints`() {
        var conversation = conversation(inserting: "Z0,401130,1")
        #expect(conversation.client("Z0,401130,1") == [.says("OK")])
        #expect(conversation.client("vRun;") == [.sendToWorker(.restartGuest)])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.worker(.stopped(.example)).count == 1)
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("Z0,401130,1").count == 2)
    }

    @Test func `the next session begins with no breakpoints`() {
        var conversation = conversation(inserting: "Z0,401130,1")
        #expect(conversation.client("Z0,401130,1") == [.says("OK")])
        #expect(conversation.client("D").count == 1)
        #expect(conversation.worker(.done).contains(.says("OK")))
        #expect(conversation.client("?").contains(.sendToWorker(.attach)))
        conversation.worker(.attached(.example))
        conversation.worker(.stopped(.example))
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("Z0,401130,1").count == 2)
    }

    @Test func `a removal that the worker refuses is logged`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("vCont;c").count == 2)
        #expect(
            conversation.worker(.refused(.noFreeDebugRegister))
                == [.log(.error, "the worker kept a breakpoint: noFreeDebugRegister")])
        #expect(
            conversation.worker(.stopped(.example(.stepped))) == [.says("T05" + expedited)])
    }

    @Test func `a client that takes out very many at once waits for the worker`() {
        var conversation = Conversation.stopped()
        for address in 0..<16 {
            #expect(conversation.client("z0,\(address),1") == [.says("OK")])
        }
        // The same once more is nothing new.
        #expect(conversation.client("z0,0,1") == [.says("OK")])
        let actions = conversation.client("z0,401130,1")
        #expect(actions.count == 17 && actions.last == Self.removal)
        for _ in 0..<16 { #expect(conversation.worker(.done) == []) }
        #expect(conversation.worker(.done) == [.says("OK")])
    }

    @Test func `what a removal is answered with must be an answer to a removal`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("z0,401130,1") == [.says("OK")])
        #expect(conversation.client("M5000,1:00").count == 2)
        #expect(conversation.worker(.memory([1])).contains(.closeWorker))
    }

    @Test func `a watchpoint for reads alone is refused so that gdb watches every access`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("Z3,1000,4") == [.says("")])
        #expect(conversation.client("z3,1000,4") == [.says("")])
    }
}

struct CrashedTests {
    private var crashed: Conversation {
        .stopped(.example(.crashed(.tripleFault)))
    }

    @Test(arguments: [
        ("?", "T0b" + expedited), ("m401000,1", "90"), ("M401000,1:00", "E0d"),
        ("P0=0100000000000000", "E0d"), ("Z2,401000,1", "E0d"), ("Z0,401000,1", "E0d"),
        ("vCont;s:1", "E0d"),
    ])
    func `a crashed guest can be read and not changed`(_ command: String, _ answer: String) {
        var conversation = crashed
        #expect(conversation.client(command) == [.says(answer)])
    }

    @Test func `going on after a crash ends the guest with its signal`() {
        var conversation = crashed
        #expect(conversation.client("vCont;C0b:1") == [.sendToWorker(.resume(.continue))])
        #expect(conversation.worker(.ended(.crashed(.tripleFault))) == [.says("X0b")])
    }

    @Test(arguments: [
        (GuestCrash.tripleFault, "X0b"), (.aborted(code: 1, text: "full"), "X06"),
        (.unsupportedInstruction(bytes: [0x0F, 0x0B]), "X04"),
    ])
    func `a worker that refuses to resume a crash has ended it too`(
        _ crash: GuestCrash, _ answer: String
    ) {
        var conversation = Conversation.stopped(.example(.crashed(crash)))
        conversation.client("c")
        #expect(conversation.worker(.refused(.crashed)) == [.says(answer)])
        #expect(conversation.client("?") == [.says(answer)])
    }

    @Test func `a worker that calls a sound guest crashed loses the client`() {
        var conversation = Conversation.running()
        #expect(conversation.worker(.refused(.crashed)).contains { $0.isClose })
    }
}
