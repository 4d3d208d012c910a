import GuestModel
import SessionCore
import Testing
import WireProtocol

/// The one file of a client (`vFile`), and what users type after `monitor`.
struct ObjectTests {
    private struct Bytes: SymbolFile {
        let name = "/guest/counter"
        let bytes: [UInt8]
        var byteCount: UInt64 { UInt64(bytes.count) }

        func read(at offset: UInt64, byteCount: Int) -> [UInt8]? {
            guard offset < UInt64(bytes.count) else { return [] }
            return Array(bytes[Int(offset)...].prefix(byteCount))
        }
    }

    private struct Broken: SymbolFile {
        let name = "/guest/counter"
        let byteCount: UInt64 = 10
        func read(at offset: UInt64, byteCount: Int) -> [UInt8]? { nil }
    }

    private func reading(_ file: any SymbolFile = Bytes(bytes: Array("ELF#$}*".utf8)))
        -> Conversation
    { .stopped(symbolFile: file) }

    private static let path = hexText("/guest/counter")

    @Test(arguments: [
        ("qXfer:exec-file:read:400001:0,100", "l/guest/counter"),
        ("qXfer:exec-file:read::0,3", "m/gu"), ("vFile:setfs:0", "F0"),
        ("vFile:open:\(path),0,1c0", "F5"), ("vFile:open:\(path),1,0", "F-1,d"),
        ("vFile:open:\(path),601,0", "F-1,d"), ("vFile:open:\(path)00,0,0", "F-1,2"),
        ("vFile:open:\(hexText("/etc/passwd")),0,0", "F-1,2"),
        ("vFile:open:\(hexText("/guest/../etc/passwd")),0,0", "F-1,2"),
        ("vFile:open:\(hexText("just probing")),0,1c0", "F-1,2"),
        ("vFile:pread:5,3,0", "F3;ELF"), ("vFile:pread:5,ffff,3", "F4;}\u{3}}\u{4}}]}\n"),
        ("vFile:pread:5,10,7", "F0;"), ("vFile:pread:5,10,ffffffffffffffff", "F0;"),
        ("vFile:pread:6,10,0", "F-1,9"), ("vFile:close:5", "F0"), ("vFile:close:3", "F-1,9"),
        ("vFile:fstat:0", "F-1,9"), ("vFile:pwrite:5,0,a", "F-1,58"),
        ("vFile:unlink:\(path)", "F-1,58"), ("vFile:readlink:\(path)", "F-1,58"),
    ])
    func `one file can be read and no other`(_ question: String, _ answer: String) {
        var conversation = reading()
        #expect(conversation.client(question) == [.says(answer)])
    }

    @Test func `the file's status is a regular file of its size, in network order`() {
        var conversation = reading()
        guard case .sendToClient(let bytes)? = conversation.client("vFile:fstat:5").first else {
            Issue.record("no answer")
            return
        }
        // "$F40;" in front, "#xx" behind.
        #expect(bytes.prefix(5).elementsEqual("$F40;".utf8))
        // One byte of it must be escaped.
        let status = Array(bytes.dropFirst(5).dropLast(3)).split(separator: UInt8(ascii: "}"))
            .enumerated().flatMap { index, part in
                index == 0 ? Array(part) : [part[part.startIndex] ^ 0x20] + part.dropFirst()
            }
        #expect(status.count == 64)
        #expect(Array(status[8..<12]) == [0, 0, 0x81, 0x24])
        #expect(Array(status[28..<36]) == [0, 0, 0, 0, 0, 0, 0, 7])
    }

    @Test func `the file is offered only when there is one`() {
        var conversation = Conversation(symbolFile: Bytes(bytes: []))
        conversation.happens(.clientConnected)
        let actions = conversation.client("qSupported:")
        #expect("\(text(of: actions))".contains(";qXfer:exec-file:read+;"))
    }

    @Test func `a file that cannot be read is an error and no end`() {
        var conversation = reading(Broken())
        #expect(conversation.client("vFile:pread:5,3,0") == [.says("F-1,d")])
        #expect(conversation.client("qC") == [.says("QC1")])
    }

    private func text(of actions: [DebugSession.Action]) -> String {
        actions.map { action in
            if case .sendToClient(let bytes) = action {
                String(decoding: bytes, as: UTF8.self)
            } else {
                ""
            }
        }.joined()
    }

    // MARK: - monitor

    private static let inspections: [(String, Inspection)] = [
        ("status", .status), ("exits", .exits), ("regs", .registers), ("regions", .regions),
        ("hostcalls", .hostCalls), ("dump", .dump), ("  dump ", .dump),
        ("translate 0x401000", .translate(.init(0x40_1000))),
        ("translate ffffffffffffffff", .translate(.init(.max))),
    ]

    @Test(arguments: inspections)
    func `monitor asks the worker and shows its lines`(_ words: String, _ inspection: Inspection) {
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("qRcmd," + hexText(words)) == [
                .sendToWorker(.inspect(inspection))
            ])
        #expect(
            conversation.worker(.report("one\n\ntwo\n"))
                == [.says(output("one\n"), output("\n"), output("two\n"), "OK")])
    }

    @Test func `what the worker cannot tell is an error in words`() {
        var conversation = Conversation.stopped()
        conversation.client("qRcmd," + hexText("status"))
        let words = output("not supported by this hypervisor driver\n")
        #expect(conversation.worker(.refused(.notSupported)) == [.says(words, "E01")])
    }

    @Test(arguments: [
        "translate", "translate 1 2", "translate 0x", "translate -1", "translate +1",
        "translate 10000000000000000", "mem", "mem both", "status now", "stat",
    ])
    func `monitor tells what it does not understand`(_ words: String) {
        var conversation = Conversation.stopped()
        let answer = text(of: conversation.client("qRcmd," + hexText(words)))
        #expect(answer.hasPrefix("$O"))
        #expect(answer.hasSuffix(frame("E01")))
    }

    @Test func `monitor mem phys makes addresses physical, for this client only`() {
        var conversation = Conversation.stopped()
        conversation.client("qRcmd," + hexText("mem phys"))
        #expect(
            conversation.client("m401000,1")
                == [.sendToWorker(.readPhysicalMemory(.init(0x40_1000), byteCount: 1))])
        #expect(conversation.worker(.memory([7])) == [.says("07")])
        #expect(
            conversation.client("M401000,1:aa")
                == [.sendToWorker(.writePhysicalMemory(.init(0x40_1000), [0xAA]))])
        #expect(conversation.worker(.done) == [.says("OK")])
        conversation.client("qRcmd," + hexText("mem virt"))
        #expect(
            conversation.client("m401000,1")
                == [.sendToWorker(.readMemory(.init(0x40_1000), byteCount: 1))])
        conversation.worker(.memory([8]))
        conversation.client("qRcmd," + hexText("mem phys"))
        conversation.happens(.clientLost)
        conversation.worker(.done)
        conversation.happens(.clientConnected)
        conversation.client("qSupported:")
        conversation.worker(.attached(.example))
        conversation.worker(.stopped(.example))
        conversation.worker(.extendedState(.example))
        #expect(conversation.client("m401000,1") == [.says("+", "90")])
    }

    // MARK: - Search

    @Test func `a pattern is found across two pieces`() {
        var conversation = Conversation.stopped()
        #expect(
            conversation.client("qSearch:memory:10000;20000;abcabd") == [
                .sendToWorker(.readMemory(.init(0x10000), byteCount: 65536))
            ])
        var first = [UInt8](repeating: 0, count: 65536)
        first.replaceSubrange(65531..., with: Array("abcab".utf8))
        #expect(
            conversation.worker(.memory(first)) == [
                .sendToWorker(.readMemory(.init(0x20000), byteCount: 65536))
            ])
        var second = [UInt8](repeating: 0, count: 65536)
        second.replaceSubrange(0..<4, with: Array("cabd".utf8))
        #expect(conversation.worker(.memory(second)) == [.says("1,1fffe")])
    }

    @Test func `what is not there is not found, and what ends early is an error`() {
        var conversation = Conversation.stopped()
        conversation.client("qSearch:memory:10000;10;ab")
        #expect(
            conversation.worker(.memory([UInt8](repeating: 0x61, count: 16))) == [.says("0")])
        conversation.client("qSearch:memory:10000;10;ab")
        #expect(conversation.worker(.memory([1, 2, 3])) == [.says("E0e")])
        conversation.client("qSearch:memory:10000;10;ab")
        #expect(conversation.worker(.memory([])) == [.says("E0e")])
        conversation.client("qSearch:memory:10000;10;ab")
        #expect(conversation.worker(.refused(.notMapped)) == [.says("E0e")])
        #expect(conversation.client("qSearch:memory:10000;0;ab") == [.says("0")])
    }

    @Test func `a match in memory that ends early counts`() {
        var conversation = Conversation.stopped()
        conversation.client("qSearch:memory:10000;10;ab")
        #expect(conversation.worker(.memory(Array("xxab".utf8))) == [.says("1,10002")])
    }

    // MARK: - Extended mode

    @Test func `a restart is answered with the stop at the entry point`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("vRun;") == [.sendToWorker(.restartGuest)])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.worker(.stopped(.example)) == [.says("T05" + expedited)])
    }

    @Test func `R is not answered, and the next question is`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("R00") == [.sendToWorker(.restartGuest)])
        #expect(conversation.client("?") == [])
        #expect(conversation.worker(.done) == [])
        #expect(conversation.worker(.stopped(.example)) == [.says("T05" + expedited)])
    }

    @Test func `a client in extended mode may run the guest again whenever it likes`() {
        var conversation = Conversation.stopped()
        #expect(conversation.client("!") == [.says("OK")])
        conversation.client("vKill;400001")
        #expect(conversation.worker(.done).contains(.says("OK")))
        #expect(conversation.seconds(3600) == [])
        #expect(conversation.client("vRun;") == [.reportAttached, .sendToWorker(.attach)])
        conversation.worker(.attached(.example))
        #expect(
            conversation.worker(.stopped(.example(.attached)))
                == [.sendToWorker(.restartGuest)])
        conversation.worker(.done)
        #expect(
            conversation.worker(.stopped(.example)).contains(.says("T05" + expedited)))
    }

    @Test func `a restart that is refused leaves everything as it is`() {
        var conversation = Conversation.stopped()
        conversation.client("vRun;")
        #expect(conversation.worker(.refused(.readOnly)) == [.says("E0d")])
        conversation.client("R00")
        #expect(conversation.worker(.refused(.notSupported)) == [])
        #expect(conversation.client("?") == [.says("T05" + expedited)])
    }

    @Test func `a client that another one replaces is told nothing and the guest goes on`() {
        var conversation = Conversation.stopped()
        let actions = conversation.happens(.dropOrdered)
        #expect(actions.contains { $0.isClose })
        #expect(actions.contains(.sendToWorker(.detach(.asConfigured))))
        #expect(!actions.contains(.exit))
        conversation.worker(.done)
        #expect(conversation.happens(.clientConnected) == [])
        #expect(conversation.happens(.dropOrdered).contains { $0.isClose })
    }
}
