import GuestModel
import SessionCore
import Testing
import WireProtocol

/// What lldb asks that gdb does not.
struct LLDBTests {
    /// A client that said everything that lldb says before it looks at the guest.
    private func lldb(_ stop: StopEvent = .example) -> Conversation {
        var conversation = Conversation.stopped(stop, features: "qSupported:xmlRegisters=i386")
        conversation.client("QThreadSuffixSupported")
        conversation.client("QListThreadsInStopReply")
        conversation.client("QEnableErrorStrings")
        return conversation
    }

    private static let triple = hexText("x86_64")

    @Test func `host and process are described as bare metal`() {
        var conversation = lldb()
        #expect(
            conversation.client("qHostInfo") == [
                .says(
                    "triple:\(Self.triple);endian:little;ptrsize:8;"
                        + "watchpoint_exceptions_received:after;vm-page-size:4096;")
            ])
        #expect(
            conversation.client("qProcessInfo") == [
                .says(
                    "pid:400001;parent-pid:1;triple:\(Self.triple);ostype:unknown;endian:little;"
                        + "ptrsize:8;")
            ])
        #expect(conversation.client("qWatchpointSupportInfo:") == [.says("num:4;")])
    }

    @Test func `the offset is the distance that the image was moved`() {
        var conversation = lldb()
        #expect(conversation.client("qOffsets") == [.says("TextSeg=1000")])
    }

    @Test func `what lldb turned on outlives a second qSupported`() {
        var conversation = lldb()
        conversation.client("qSupported:xmlRegisters=i386")
        #expect(conversation.client("qOffsets") == [.says("TextSeg=1000")])
        #expect(
            conversation.client("Hg9") == [.says("E03;" + hexText("no such thread or process"))])
    }

    @Test func `one client's ways are not the next one's`() {
        var conversation = lldb()
        conversation.client("D")
        conversation.worker(.done)
        conversation.happens(.clientLost)
        conversation.happens(.clientConnected)
        conversation.client("qSupported:qRelocInsn+")
        conversation.worker(.attached(.example))
        conversation.worker(.stopped(.example))
        conversation.worker(.extendedState(.example))
        #expect(conversation.client("qOffsets") == [.says("+", "TextSeg=201000")])
        #expect(conversation.client("Hg9") == [.says("+", "E03")])
    }

    private static let listed = "thread:1;threads:1;thread-pcs:0000000000401000;"

    private static let stops: [(StopReason, String)] = [
        (.stepped, "T05reason:trace;"), (.interrupted, "T02"),
        (.softwareBreakpoint(.init(0x40_1000)), "T05"),
        (.watchpoint(.read, .init(0x6010)), "T05rwatch:6010;"),
        (
            .crashed(.tripleFault),
            "T0breason:exception;description:" + hexText("triple fault") + ";"
        ),
    ]

    @Test(arguments: stops)
    func `a stop names the threads and the reason`(_ reason: StopReason, _ head: String) {
        var conversation = lldb()
        conversation.client("c")
        let expected = expedited.replacing("thread:1;", with: Self.listed)
        #expect(conversation.worker(.stopped(.example(reason))) == [.says(head + expected)])
        #expect(conversation.client("qThreadStopInfo1") == [.says(head + expected)])
        #expect(conversation.client("qThreadStopInfo2").count == 1)
    }

    @Test func `threads come as JSON whose braces are escaped`() {
        var conversation = lldb(.example(.crashed(.protocolViolation("a \"b\" \\ }\u{1}"))))
        let sent = conversation.client("jThreadsInfo")
        guard case .sendToClient(let bytes)? = sent.first else {
            Issue.record("\(sent)")
            return
        }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(
            text.hasPrefix(
                #"$[{"tid":1,"name":"vcpu0","signal":6,"reason":"exception","description":"a b  }]""#
            ))
        #expect(text.contains(#""registers":{"6":"1080000000000000","7":"0080000000000000","#))
        #expect(text.dropLast(3).hasSuffix("}]}]]"))
    }

    private static let regions: [(MappedRegion?, String)] = [
        (
            MappedRegion(
                start: .init(0x1000), last: .init(0x2FFF), permissions: [.read, .execute],
                name: "image"),
            "start:1000;size:2000;permissions:rx;name:696d616765;"
        ),
        (
            MappedRegion(start: .init(0), last: .init(0xFFF), permissions: nil),
            "start:0;size:1000;"
        ),
        (
            MappedRegion(start: .init(0), last: .init(.max), permissions: nil),
            "start:0;size:ffffffffffffffff;"
        ),
        (
            MappedRegion(start: .init(.max), last: .init(.max), permissions: []),
            "start:ffffffffffffffff;size:1;permissions:;"
        ),
    ]

    @Test(arguments: regions)
    func `a region is described, and the last one ends where lldb can bear it`(
        _ region: MappedRegion?, _ answer: String
    ) throws {
        let region = try #require(region)
        var conversation = lldb()
        #expect(
            conversation.client("qMemoryRegionInfo:1234")
                == [.sendToWorker(.describeRegion(.init(0x1234)))])
        #expect(conversation.worker(.region(region)) == [.says(answer)])
    }

    @Test func `a watchpoint for reads alone is the driver's`() throws {
        let range = try #require(GuestVirtualRange(start: .init(0x1000), byteCount: 8))
        let watchpoint = try #require(Watchpoint(.read, range))
        var conversation = lldb()
        #expect(
            conversation.client("Z3,1000,8") == [.sendToWorker(.insertWatchpoint(watchpoint))])
        #expect(
            conversation.worker(.refused(.notSupported))
                == [.says("E13;" + hexText("not supported by this hypervisor driver"))])
    }

    @Test func `registers are saved and brought back, and a number is good once`() {
        var conversation = lldb()
        #expect(conversation.client("QSaveRegisterState;thread:0001;") == [.says("1")])
        #expect(conversation.client("QSaveRegisterState") == [.says("2")])
        let state = VCPUState.example
        let write = StateWrite(
            general: state.general, fsBase: 0, gsBase: 0, cr2: 0, extended: .example)
        #expect(
            conversation.client("QRestoreRegisterState:1;thread:0001;")
                == [.sendToWorker(.writeState(write))])
        #expect(conversation.worker(.done) == [.says("OK")])
        #expect(conversation.client("QRestoreRegisterState:1") != [.says("OK")])
    }

    @Test func `the number of saved registers is decimal, as it was told`() {
        var conversation = lldb()
        for number in 1...10 {
            #expect(conversation.client("QSaveRegisterState") == [.says(String(number))])
        }
        #expect(conversation.client("QRestoreRegisterState:10").count == 1)
        #expect(conversation.worker(.done) == [.says("OK")])
    }

    @Test func `a register that cannot be shown is an error, not digits`() {
        var conversation = Conversation.stopped(
            extended: nil, features: "qSupported:xmlRegisters=i386")
        conversation.client("QThreadSuffixSupported")
        #expect(conversation.client("p38;thread:0001;") == [.says("E13")])
        #expect(conversation.client("p10;thread:0001;") == [.says("0010400000000000")])
    }

    @Test func `saved registers do not grow without end`() {
        var conversation = lldb()
        for number in 1...16 {
            #expect(conversation.client("QSaveRegisterState") == [.says("\(String(number))")])
        }
        let words = hexText("too many saved register states")
        #expect(conversation.client("QSaveRegisterState") == [.says("E01;" + words)])
    }

    @Test func `a bare k lets the guest go and is answered`() {
        var conversation = lldb()
        #expect(conversation.client("k") == [.sendToWorker(.detach(.kill))])
        #expect(
            conversation.worker(.done)
                == [.reportDetached(reason: "detached by the client"), .says("X09")])
    }
}
