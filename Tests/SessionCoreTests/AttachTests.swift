import GuestModel
import SessionCore
import Testing
import WireProtocol

struct AttachTests {
    private static let offer =
        "PacketSize=20000;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+"
        + ";vContSupported+;swbreak+;hwbreak+;error-message+;binary-upload+;qEcho+"

    @Test func `a connection alone leaves the guest in peace`() {
        var conversation = Conversation()
        #expect(conversation.happens(.clientConnected) == [])
        #expect(conversation.bytes("+") == [])
        #expect(conversation.happens(.clientLost) == [])
    }

    @Test func `the first packet attaches and is answered at once`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        #expect(
            conversation.client("qSupported:multiprocess+") == [
                .reportAttached, .sendToWorker(.attach),
                .says("+", Self.offer + ";multiprocess+"),
            ])
        #expect(conversation.client("vMustReplyEmpty") == [.says("+", "")])
    }

    @Test func `questions about the guest wait until it stands`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        #expect(
            conversation.client("?") == [.reportAttached, .sendToWorker(.attach), .says("+")])
        #expect(conversation.worker(.attached(.example)) == [])
        #expect(
            conversation.worker(.stopped(.example)) == [
                .says("T05" + expedited), .sendToWorker(.readExtendedState),
            ])
    }

    @Test func `the description of registers waits until the worker has told of them`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        conversation.client("QStartNoAckMode")
        #expect(conversation.client("qXfer:features:read:target.xml:0,5") == [])
        #expect(conversation.worker(.attached(.withAVX)) == [.says("m<?xml")])
    }

    @Test func `the offsets name the first segment's real address`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("qOffsets") == [.says("TextSeg=201000")])
    }

    @Test(arguments: [
        ("qC", "QC1"), ("qfThreadInfo", "m1"), ("qsThreadInfo", "l"), ("Hg0", "OK"),
        ("Hc-1", "OK"), ("Hg2", "E03"), ("T1", "OK"), ("T7", "E03"), ("qAttached", "1"),
        ("qAttached:a410", "1"), ("qSymbol::", "OK"), ("vCont?", "vCont;c;C;s;S;r"),
        ("bc", ""), ("!", "OK"), ("qTStatus", ""), ("QNonStop:1", ""), ("vRunX", ""),
        ("qEcho:a1b2", "qEcho:a1b2"), ("vAttach;400001", "T05" + expedited), ("vAttach;7", "E03"),
        ("qXfer:threads:read::0,15", "m<?xml version=\"1.0\"?>"),
        ("qXfer:threads:read:x:0,15", "E00"),
        ("vFile:setfs:0", ""), ("qXfer:exec-file:read::0,10", ""),
        ("qXfer:features:read:nothing.xml:0,10", "E00"), ("m1", "E16"), ("p42", "E16"),
        ("qXfer:features:read:target.xml:0,5", "m<?xml"),
        ("qThreadExtraInfo,1", "764350552030202873746f7070656429"), ("D;1", "E03"),
    ])
    func `a stopped guest's stub answers`(_ question: String, _ answer: String) {
        var conversation = Conversation.stopped()
        #expect(conversation.client(question) == [.says(answer)])
    }

    @Test func `monitor help lists what there is`() {
        var conversation = Conversation.stopped()
        let actions = conversation.client("qRcmd,68656c70")
        #expect(actions.count == 1)
        guard case .sendToClient(let bytes) = actions.first else { return }
        #expect(String(decoding: bytes, as: UTF8.self).hasSuffix(frame("OK")))
    }

    @Test func `an unknown monitor command is an error in words`() {
        var conversation = Conversation.stopped()
        let words = "unknown command; try 'monitor help'\n"
        let digits = words.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(conversation.client("qRcmd,78") == [.says("O" + digits, "E01")])
    }

    @Test func `a client that offers it gets errors in words`() {
        var conversation = Conversation.stopped(features: "qSupported:error-message+")
        #expect(conversation.client("Hg9") == [.says("E.no such thread or process")])
    }
}

struct AcknowledgmentTests {
    @Test func `a wrong sum is asked for again and nothing is done`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        #expect(conversation.bytes("$?#00") == [.sendToClient(Array("-".utf8))])
    }

    @Test func `a wrong sum without acknowledgments is an error`() {
        var conversation = Conversation.stopped()
        #expect(conversation.bytes("$vCont;c#00") == [.says("E16")])
    }

    @Test func `the last reply is repeated three times and not more`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        conversation.client("vMustReplyEmpty")
        for _ in 0..<3 { #expect(conversation.bytes("-") == [.says("")]) }
        #expect(conversation.bytes("-").contains { $0.isClose })
    }

    @Test func `after QStartNoAckMode nothing is acknowledged`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        let actions = conversation.client("QStartNoAckMode")
        #expect(actions.last == .says("+", "OK"))
        #expect(conversation.bytes("+") == [])
        #expect(conversation.client("qC") == [.says("QC1")])
        #expect(conversation.bytes("-") == [])
    }

    @Test func `a new connection begins with acknowledgments again`() {
        var conversation = Conversation.stopped()
        conversation.happens(.clientLost)
        conversation.worker(.done)
        conversation.happens(.clientConnected)
        #expect(conversation.client("qC").last == .says("+", "QC1"))
    }

    @Test func `too many malformed packets end the session`() {
        var conversation = Conversation.stopped()
        for _ in 0..<100 { #expect(conversation.client("mzz") == [.says("E16")]) }
        #expect(conversation.client("mzz").contains { $0.isClose })
    }

    @Test func `F17: sixteen broken packets in a row end the session`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        for _ in 0..<15 { #expect(conversation.bytes("$?#00") == [.sendToClient([0x2D])]) }
        let last = conversation.bytes("$?#00")
        #expect(last.first == .sendToClient([0x2D]))
        #expect(last.contains { $0.isClose })
    }

    @Test func `F17: a packet that comes at last makes up for broken ones`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        for _ in 0..<6 {
            for _ in 0..<15 { #expect(conversation.bytes("$qC#00") == [.sendToClient([0x2D])]) }
            #expect(conversation.client("qC").contains(.says("+", "QC1")))
        }
    }

    @Test func `F17: without acknowledgments a broken packet is an error, sixteen are the end`() {
        var conversation = Conversation.stopped()
        for _ in 0..<15 { #expect(conversation.bytes("$?#00") == [.says("E16")]) }
        #expect(conversation.bytes("$?#00").contains { $0.isClose })
    }

    @Test func `F17: 64 KiB that belong to no packet end the session`() {
        var conversation = Conversation.stopped()
        let noise = [UInt8](repeating: UInt8(ascii: "x"), count: 0x10000)
        #expect(conversation.bytes(noise) == [])
        #expect(conversation.bytes("x").contains { $0.isClose })
    }

    @Test func `malformed packets now and then are forgiven`() {
        var conversation = Conversation.stopped()
        for _ in 0..<300 {
            #expect(conversation.client("mzz") == [.says("E16")])
            conversation.seconds(1)
        }
    }

    @Test func `a browser is shut out before anything else happens`() {
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        let actions = conversation.bytes("POST / HTTP/1.1\r\n\r\n" + frame("vCont;c"))
        #expect(actions.count == 1)
        #expect(actions.allSatisfy { $0.isClose })
    }
}

extension DebugSession.Action {
    var isClose: Bool {
        switch self {
        case .closeClient: true
        case .sendToWorker, .closeWorker, .sendToClient, .reportAttached, .reportDetached, .log,
            .exit:
            false
        }
    }
}
