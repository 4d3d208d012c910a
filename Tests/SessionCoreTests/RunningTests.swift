import GuestModel
import SessionCore
import Testing
import WireProtocol

struct RunningTests {
    private static let resumes: [(String, ResumeMode)] = [
        ("vCont;c", .continue), ("vCont;c:p400001.-1", .continue), ("vCont;s:1;c", .step),
        ("vCont;C05:1", .continue), ("vCont;S00:1", .step), ("c", .continue), ("s", .step),
        (
            "vCont;r4011a1,4011b7:1;c",
            .stepRange(start: .init(0x40_11A1), end: .init(0x40_11B7))
        ),
        ("vCont;r1000,1000:1", .step), ("vCont;s:7;c", .continue),
    ]

    @Test func `an interrupt right behind a resume that waits is not lost`() {
        var conversation = Conversation.stopped()
        conversation.client("g")
        conversation.client("vCont;s:1")
        #expect(
            conversation.worker(.stopped(.example(.stepped))).last
                == .sendToWorker(.readExtendedState))
        #expect(conversation.bytes(frame("vCont;c") + "\u{3}") == [])
        #expect(
            conversation.worker(.extendedState(.example)) == [
                .sendToWorker(.resume(.continue)), .sendToWorker(.interrupt),
            ])
    }

    @Test func `an interrupt behind a read and a resume is not lost`() {
        var conversation = Conversation.stopped()
        let segment = frame("m100000,4") + frame("vCont;c") + "\u{3}"
        #expect(conversation.bytes(segment).count == 1)
        #expect(
            conversation.worker(.memory([1, 2, 3, 4])) == [
                .sendToWorker(.resume(.continue)), .sendToWorker(.interrupt), .says("01020304"),
            ])
    }

    @Test func `an interrupt of a stopped guest does not touch the next run`() {
        var conversation = Conversation.stopped()
        #expect(conversation.bytes("\u{3}") == [])
        #expect(conversation.client("vCont;c") == [.sendToWorker(.resume(.continue))])
    }

    @Test func `a goodbye right behind a resume that waits is obeyed`() {
        var conversation = Conversation.stopped()
        conversation.client("g")
        conversation.client("vCont;s:1")
        conversation.worker(.stopped(.example(.stepped)))
        #expect(conversation.bytes(frame("vCont;c") + frame("D")) == [])
        #expect(
            conversation.worker(.extendedState(.example)) == [
                .sendToWorker(.resume(.continue)), .sendToWorker(.detach(.asConfigured)),
            ])
    }

    @Test func `a packet that a goodbye overtakes begins no session anew`() {
        var conversation = Conversation.stopped()
        let segment = frame("vCont;c") + frame("m100000,4") + frame("D")
        #expect(
            conversation.bytes(segment) == [
                .sendToWorker(.resume(.continue)), .sendToWorker(.detach(.asConfigured)),
            ])
        let end = conversation.worker(.done)
        #expect(end.contains(.says("OK")))
        #expect(!end.contains(.sendToWorker(.attach)))
        // What comes after the goodbye does.
        #expect(conversation.client("?").contains(.sendToWorker(.attach)))
    }

    @Test func `a goodbye overtakes what waits behind a resume that waits itself`() {
        var conversation = Conversation.stopped()
        conversation.client("g")
        conversation.client("vCont;s:1")
        conversation.worker(.stopped(.example(.stepped)))
        let segment = frame("vCont;c") + frame("m100000,4") + frame("D")
        #expect(conversation.bytes(segment) == [])
        #expect(
            conversation.worker(.extendedState(.example)) == [
                .sendToWorker(.resume(.continue)), .sendToWorker(.detach(.asConfigured)),
            ])
        #expect(!conversation.worker(.done).contains(.sendToWorker(.attach)))
    }

    @Test(arguments: resumes)
    func `the first action for our thread is done`(_ command: String, _ mode: ResumeMode) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(command) == [.sendToWorker(.resume(mode))])
    }

    @Test func `actions for other threads only are an error`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("vCont;c:7") == [.says("E03")])
    }

    @Test func `going on elsewhere sets the instruction pointer first`() {
        var conversation = Conversation.stopped()
        var registers = VCPUState.example.general
        registers.rip = 0x5000
        #expect(conversation.client("c5000") == [.sendToWorker(.writeRegisters(registers))])
        #expect(conversation.worker(.done) == [.sendToWorker(.resume(.continue))])
    }

    private static let stops: [(StopReason, String)] = [
        (.stepped, "T05"), (.interrupted, "T02"), (.guestTrap, "T05"),
        (.softwareBreakpoint(.init(0x40_1000)), "T05swbreak:;"),
        (.hardwareBreakpoint(.init(0x40_1000)), "T05hwbreak:;"),
        (.watchpoint(.write, .init(0x6010)), "T05watch:6010;"),
        (.watchpoint(.access, .init(0x6010)), "T05awatch:6010;"),
    ]

    private static let crashes: [(GuestCrash, String)] = [
        (.unsupportedInstruction(bytes: [0x0F, 0x0B]), "04"), (.tripleFault, "0b"),
        (.aborted(code: 1, text: "out of memory"), "06"),
        (.exception(CPUException(vector: 0, errorCode: 0, faultAddress: nil)), "08"),
        (.exception(CPUException(vector: 6, errorCode: 0, faultAddress: nil)), "04"),
        (.exception(CPUException(vector: 13, errorCode: 0, faultAddress: nil)), "0b"),
        (
            .exception(CPUException(vector: 14, errorCode: 2, faultAddress: .init(0x10))),
            "0b"
        ),
    ]

    @Test(arguments: crashes)
    func `a crash is told in words, and then as a stop`(_ crash: GuestCrash, _ signal: String) {
        var conversation = Conversation.running()
        #expect(
            conversation.worker(.stopped(.example(.crashed(crash)))) == [
                .says(output("the guest crashed: \(crash)\n"), "T" + signal + expedited)
            ])
        #expect(conversation.client("?") == [.says("T" + signal + expedited)])
    }

    @Test func `a guest's last words do not steer the terminal of whoever reads them`() {
        let crash = GuestCrash.aborted(code: 1, text: "\u{1B}[31mred\nE: fake")
        let words = "the guest crashed: abort with code 1: \\u{1b}[31mred\\u{a}E: fake\n"
        var conversation = Conversation.running()
        #expect(
            conversation.worker(.stopped(.example(.crashed(crash)))) == [
                .says(output(words), "T06" + expedited)
            ])
    }

    @Test(arguments: crashes)
    func `a crash that ends the guest is told in words, and then as its end`(
        _ crash: GuestCrash, _ signal: String
    ) {
        var conversation = Conversation.running()
        #expect(
            conversation.worker(.ended(.crashed(crash))) == [
                .says(output("the guest crashed: \(crash)\n"), "X" + signal)
            ])
        #expect(conversation.client("?") == [.says("X" + signal)])
    }

    @Test(arguments: stops)
    func `a stop ends the wait`(_ reason: StopReason, _ head: String) {
        var conversation = Conversation.running()
        #expect(conversation.worker(.stopped(.example(reason))) == [.says(head + expedited)])
        #expect(conversation.client("?") == [.says(head + expedited)])
    }

    @Test func `an interrupt halts a running guest once`() {
        var conversation = Conversation.running()
        #expect(conversation.bytes("\u{3}") == [.sendToWorker(.interrupt)])
        #expect(conversation.bytes("\u{3}") == [])
        #expect(
            conversation.worker(.stopped(.example(.interrupted))) == [.says("T02" + expedited)])
        #expect(conversation.bytes("\u{3}") == [])
    }

    @Test func `an interrupt that is not obeyed is repeated and then given up`() {
        var conversation = Conversation.running()
        conversation.bytes("\u{3}")
        #expect(conversation.seconds(1) == [])
        #expect(conversation.seconds(1) == [.sendToWorker(.interrupt)])
        #expect(conversation.seconds(2) == [.sendToWorker(.interrupt)])
        let actions = conversation.seconds(6)
        #expect(actions.contains { $0.isClose })
        #expect(actions.contains(.sendToWorker(.detach(.asConfigured))))
    }

    @Test func `a packet while running is answered after the stop`() {
        var conversation = Conversation.running()
        #expect(conversation.client("qC") == [])
        #expect(
            conversation.worker(.stopped(.example(.stepped)))
                == [.says("T05" + expedited, "QC1")])
    }

    @Test func `a second packet while running ends the session`() {
        var conversation = Conversation.running()
        conversation.client("qC")
        let actions = conversation.client("qC")
        #expect(actions.contains { $0.isClose })
        #expect(actions.contains(.sendToWorker(.detach(.asConfigured))))
    }

    private static let ends: [(GuestEnd, String)] = [
        (.finished, "W00"), (.killed, "X09"),
    ]

    @Test(arguments: ends)
    func `the guest's end is told and the client may close first`(
        _ end: GuestEnd, _ answer: String
    ) {
        var conversation = Conversation.running()
        #expect(conversation.worker(.ended(end)) == [.says(answer)])
        #expect(conversation.happens(.workerLost) == [])
        #expect(conversation.client("?") == [.says(answer)])
        #expect(conversation.client("m0,8") == [.says("E03")])
        #expect(conversation.seconds(4) == [])
        let actions = conversation.seconds(1)
        #expect(actions.contains { $0.isClose })
        #expect(actions.last == .exit)
    }

    @Test func `the process ends when client and worker are gone`() {
        var conversation = Conversation.running()
        conversation.worker(.ended(.finished))
        conversation.happens(.workerLost)
        #expect(conversation.happens(.clientLost).last == .exit)
    }

    @Test func `a lost worker is told to a waiting client`() {
        var conversation = Conversation.running()
        #expect(conversation.happens(.workerLost) == [.says("X09")])
    }

    @Test func `a lost worker behind a stopped guest shows at the next resume`() {
        var conversation = Conversation.stopped()
        #expect(conversation.happens(.workerLost) == [])
        #expect(conversation.client("g") == [.says("E05")])
        #expect(conversation.client("qC") == [.says("QC1")])
        #expect(conversation.client("vCont;c") == [.says("X09")])
    }

    @Test func `a worker lost in the middle of a request is an error`() {
        var conversation = Conversation.stopped()
        conversation.client("m0,8")
        #expect(conversation.happens(.workerLost) == [.says("E05")])
    }

    @Test func `a worker that does not answer is an error and its late reply is dropped`() {
        var conversation = Conversation.stopped()
        conversation.client("m0,8")
        #expect(conversation.seconds(5).last == .says("E05"))
        #expect(conversation.client("m0,8") == [.says("E05")])
        #expect(conversation.worker(.memory([1])) == [])
        #expect(
            conversation.client("m0,8")
                == [.sendToWorker(.readMemory(.init(0), byteCount: 8))])
    }

    @Test func `a worker without the client's trust is no worker`() {
        var conversation = Conversation.stopped()
        let actions = conversation.worker(.memory([1]))
        #expect(actions.contains { if case .log(.error, _) = $0 { true } else { false } })
        #expect(actions.last == .closeWorker)
        #expect(conversation.worker(.stopped(.example)) == [])
        #expect(conversation.client("vCont;c") == [.says("X09")])
    }

    @Test func `a client that waits for an answer of another kind is told`() {
        var conversation = Conversation.stopped()
        conversation.client("m0,8")
        let actions = conversation.worker(.done)
        #expect(actions.contains(.closeWorker))
        #expect(actions.last == .says("E05"))
        #expect(conversation.happens(.clientLost).last == .exit)
    }
}
