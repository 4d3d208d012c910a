import GuestModel
import SessionCore
import Testing
import WireProtocol

struct DetachTests {
    private static let goodbyes: [(String, DetachMode, String)] = [
        ("D", .asConfigured, "OK"), ("D;400001", .asConfigured, "OK"),
        ("D1", .leaveStopped, "OK"), ("vKill;a410", .kill, "OK"),
    ]

    @Test(arguments: goodbyes)
    func `a goodbye is answered when the worker has let go`(
        _ command: String, _ mode: DetachMode, _ answer: String
    ) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(command) == [.sendToWorker(.detach(mode))])
        #expect(
            conversation.worker(.done) == [
                .reportDetached(reason: "detached by the client"), .says(answer),
            ])
        #expect(conversation.happens(.clientLost) == [])
    }

    @Test(arguments: goodbyes)
    func `a goodbye is obeyed while the guest runs`(
        _ command: String, _ mode: DetachMode, _ answer: String
    ) {
        var conversation = Conversation.running()
        #expect(conversation.client(command) == [.sendToWorker(.detach(mode))])
        // A stop that crossed with it is nobody's any more.
        #expect(conversation.worker(.stopped(.example(.stepped))) == [])
        #expect(conversation.worker(.done).last == .says(answer))
    }

    @Test func `gdb's k is not answered`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("k") == [.sendToWorker(.detach(.kill))])
        let actions = conversation.worker(.done)
        #expect(actions.last?.isClose == true)
    }

    @Test func `lldb's k is answered with an end`() {
        var conversation = Conversation.stopped(features: "qSupported:multiprocess-")
        conversation.client("k")
        #expect(conversation.worker(.done).last == .says("X09"))
    }

    @Test func `a lost client lets the stopped guest go`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.happens(.clientLost) == [
                .reportDetached(reason: "connection lost"), .sendToWorker(.detach(.asConfigured)),
            ])
        #expect(conversation.worker(.done) == [])
    }

    @Test func `a lost client lets the running guest go`() {
        var conversation = Conversation.running()
        #expect(
            conversation.happens(.clientLost).last == .sendToWorker(.detach(.asConfigured)))
    }

    @Test func `a client lost while attaching waits for the worker's reply`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        conversation.client("?")
        #expect(conversation.happens(.clientLost) == [.reportDetached(reason: "connection lost")])
        #expect(
            conversation.worker(.attached(.example)) == [.sendToWorker(.detach(.asConfigured))])
        #expect(conversation.worker(.stopped(.example)) == [])
        #expect(conversation.worker(.done) == [])
    }

    @Test func `a client lost during a request does not hand its answer to the next`() {
        var conversation = Conversation.stopped()
        conversation.client("m0,8")
        conversation.happens(.clientLost)
        conversation.happens(.clientConnected)
        #expect(conversation.client("?") == [.reportAttached, .says("+")])
        #expect(
            conversation.worker(.memory([1])) == [.sendToWorker(.detach(.asConfigured))])
        #expect(conversation.worker(.done) == [.sendToWorker(.attach)])
        conversation.worker(.attached(.example))
        #expect(
            conversation.worker(.stopped(.example(.attached))).first == .says("T05" + expedited))
    }

    @Test func `the next client gets nothing of the last one's goodbye`() {
        var conversation = Conversation.stopped()
        conversation.client("D")
        conversation.happens(.clientLost)
        conversation.happens(.clientConnected)
        conversation.client("vMustReplyEmpty")
        #expect(conversation.worker(.done) == [.sendToWorker(.attach), .says("")])
    }

    @Test func `a client may attach again after its goodbye`() {
        var conversation = Conversation.stopped()
        conversation.client("D")
        conversation.worker(.done)
        #expect(conversation.client("?") == [.reportAttached, .sendToWorker(.attach)])
    }

    @Test func `what comes right behind a goodbye begins a session anew`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.bytes(frame("D") + frame("qC") + frame("?"))
                == [.sendToWorker(.detach(.asConfigured))])
        #expect(
            conversation.worker(.done) == [
                .reportDetached(reason: "detached by the client"), .reportAttached,
                .sendToWorker(.attach), .says("OK", "QC1"),
            ])
        conversation.worker(.attached(.example))
        #expect(
            conversation.worker(.stopped(.example)).contains(.says("T05" + expedited)))
    }

    @Test func `registers that were saved are none of the next session's`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("QSaveRegisterState") == [.says("1")])
        conversation.client("D")
        conversation.worker(.done)
        conversation.client("?")
        conversation.worker(.attached(.example))
        conversation.worker(.stopped(.example))
        #expect(conversation.client("QRestoreRegisterState:1") == [.says("E16")])
    }

    @Test func `twenty clients come and go`() {
        var conversation = Conversation()
        for _ in 0..<20 {
            conversation.happens(.clientConnected)
            #expect(conversation.client("?").contains(.sendToWorker(.attach)))
            conversation.worker(.attached(.example))
            conversation.worker(.stopped(.example))
            conversation.worker(.extendedState(.example))
            #expect(
                conversation.happens(.clientLost).last == .sendToWorker(.detach(.asConfigured)))
            #expect(conversation.worker(.done) == [])
        }
        #expect(conversation.nextDeadline == nil)
    }

    @Test func `a polite stop lets the guest go before the process ends`() {
        var conversation = Conversation.stopped()
        let actions = conversation.happens(.stopOrdered)
        #expect(actions.contains { $0.isClose })
        #expect(actions.last == .sendToWorker(.detach(.asConfigured)))
        #expect(conversation.worker(.done) == [.exit])
    }

    @Test func `a polite stop without a client ends at once`() {
        var conversation = Conversation()
        #expect(conversation.happens(.stopOrdered) == [.exit])
    }

    @Test func `a worker that does not let go is left by ending the process`() {
        var conversation = Conversation.stopped()
        conversation.happens(.clientLost)
        #expect(conversation.seconds(5).last == .exit)
    }

    @Test func `a client that comes while the stub is leaving is closed`() {
        var conversation = Conversation.stopped()
        conversation.happens(.stopOrdered)
        #expect(conversation.happens(.clientConnected).map(\.isClose) == [true])
        #expect(conversation.worker(.done) == [.exit])
    }

    @Test func `a refused attach of a lost client does not end the next one's session`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        conversation.client("?")
        conversation.happens(.clientLost)
        conversation.happens(.clientConnected)
        conversation.client("?")
        #expect(conversation.worker(.refused(.running)) == [.sendToWorker(.attach)])
    }

    @Test func `a goodbye behind an unanswered request is answered when the guest ends`() {
        var conversation = Conversation.stopped()
        conversation.client("m0,8")
        conversation.seconds(5)
        #expect(conversation.client("D") == [])
        #expect(conversation.worker(.ended(.finished)).last == .says("OK"))
    }

    @Test func `a silent client is closed after ten seconds`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        #expect(conversation.seconds(9) == [])
        #expect(conversation.seconds(1) == [.closeClient(reason: "no packet came")])
        #expect(conversation.nextDeadline == nil)
    }

    @Test func `a packet that never ends closes the connection`() {
        var conversation = Conversation.stopped()
        conversation.bytes("$m40")
        #expect(conversation.seconds(29) == [])
        #expect(conversation.seconds(1).contains { $0.isClose })
    }

    @Test func `a packet that comes in drops has no more time than others`() {
        var conversation = Conversation.stopped()
        conversation.bytes("$m")
        for _ in 0..<29 {
            conversation.bytes("4")
            #expect(conversation.seconds(1) == [])
        }
        conversation.bytes("4")
        #expect(conversation.seconds(1).contains { $0.isClose })
    }

    @Test func `each packet has its own time`() {
        var conversation = Conversation.stopped()
        conversation.bytes("$q")
        for _ in 0..<3 {
            #expect(conversation.seconds(20) == [])
            #expect(conversation.bytes("C#b4$q") == [.says("QC1")])
        }
        conversation.bytes("C#b4")
        #expect(conversation.nextDeadline == nil)
    }
}
