import GDBRemote
import GuestModel
import Testing

struct CommandTests {
    private static let thread = ThreadID(process: .number(0x40_0001), thread: .number(1))
    private static let one = ThreadID(process: .any, thread: .number(1))

    static let understood: [(String, Command)] = [
        ("", .unsupported),
        ("vMustReplyEmpty", .unsupported),
        ("bc", .unsupported),
        ("QNonStop:1", .unsupported),
        ("QStartNoAckMode", .startNoAckMode),
        ("qSymbol::", .symbolLookupOffer),
        ("qSupported", .supportedFeatures([])),
        (
            "qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;xmlRegisters=i386",
            .supportedFeatures([
                .multiprocess, .softwareBreakReason, .hardwareBreakReason, .relocateInstruction,
            ])
        ),
        ("qSupported:error-message+;multiprocess-", .supportedFeatures([.errorMessage])),
        ("?", .stopReason),
        ("qC", .currentThread),
        ("qfThreadInfo", .firstThreads),
        ("qsThreadInfo", .moreThreads),
        ("qThreadExtraInfo,p400001.1", .threadDescription(thread)),
        ("Hgp400001.1", .selectThread(thread)),
        ("Hc-1", .selectThread(ThreadID(process: .any, thread: .all))),
        ("Hg0", .selectThread(ThreadID(process: .any, thread: .any))),
        ("T0001", .isThreadAlive(one)),
        ("qAttached:400001", .isAttached),
        ("qAttached", .isAttached),
        ("D", .detach(process: nil, staysStopped: false)),
        ("D;0000000000400001", .detach(process: 0x40_0001, staysStopped: false)),
        ("D1", .detach(process: nil, staysStopped: true)),
        ("k", .kill(wantsReply: false)),
        ("vKill;a410", .kill(wantsReply: true)),
        ("g", .readRegisters),
        ("G00ff", .writeRegisters([0, 0xFF])),
        ("p10", .readRegister(16)),
        ("P10=0102", .writeRegister(16, [1, 2])),
        ("m401136,8", .readMemory(.init(0x40_1136), byteCount: 8, .hex)),
        ("m0,0", .readMemory(.init(0), byteCount: 0, .hex)),
        (
            "mFFFFFFFFFFFFFFFF,ffffffffffffffff",
            .readMemory(.init(.max), byteCount: PacketLimits.memoryBytesMax, .hex)
        ),
        ("x10,20", .readMemory(.init(16), byteCount: 32, .binary)),
        ("M10,2:abCD", .writeMemory(.init(16), [0xAB, 0xCD])),
        ("X40312c,0:", .writeMemory(.init(0x40_312C), [])),
        ("X10,3:a:,", .writeMemory(.init(16), Array("a:,".utf8))),
        ("qCRC:1000,20", .checksumMemory(.init(0x1000), byteCount: 32)),
        ("Z0,401130,1", .insertBreakpoint(.software, .init(0x40_1130))),
        ("z1,401130,1", .removeBreakpoint(.hardware, .init(0x40_1130))),
        ("Z5,403138,8", .unsupported),
        ("!", .extendedMode),
        ("R00", .restart(wantsReply: false)),
        ("vRun;", .restart(wantsReply: true)),
        ("vRun;2f62;31", .restart(wantsReply: true)),
        ("vAttach;400001", .attach(process: 0x40_0001)),
        ("QEnableErrorStrings", .enable([.lldb, .errorStrings])),
        ("QThreadSuffixSupported", .enable(.lldb)),
        ("QListThreadsInStopReply", .enable([.lldb, .threadsInStopReplies])),
        ("qHostInfo", .hostDescription),
        ("qProcessInfo", .processDescription),
        ("qProcessInfoPID:1", .unsupported),
        ("qWatchpointSupportInfo:", .watchpointCount),
        ("qEcho:a:b", .echo(Array("a:b".utf8))),
        ("qMemoryRegionInfo:ffffffffffffffff", .describeRegion(.init(.max))),
        ("qThreadStopInfo1", .threadStopReason(one)),
        ("jThreadsInfo", .threadsInJSON),
        ("jThreadExtendedInfo:{}", .unsupported),
        ("QSaveRegisterState;thread:0001;", .saveRegisters),
        ("QRestoreRegisterState:2;thread:0001;", .restoreRegisters(2)),
        ("g;thread:0001;", .readRegisters),
        ("p10;thread:0001;", .readRegister(16)),
        ("P10=0102;thread:0001;", .writeRegister(16, [1, 2])),
        ("G00ff;thread:1;", .writeRegisters([0, 0xFF])),
        (
            "qSearch:memory:1000;20;a;b",
            .searchMemory(.init(0x1000), byteCount: 32, pattern: Array("a;b".utf8))
        ),
        ("qXfer:threads:read::0,100", .readObject(.threads, offset: 0, byteCount: 256)),
        (
            "qXfer:exec-file:read:400001:0,100",
            .readObject(.executableName, offset: 0, byteCount: 256)
        ),
        ("vFile:setfs:0", .file(.setFileSystem)),
        ("vFile:open:2f61,0,0", .file(.open(path: Array("/a".utf8), flags: 0))),
        ("vFile:fstat:5", .file(.status(5))),
        (
            "vFile:pread:5,fffffff,10",
            .file(.read(5, byteCount: PacketLimits.fileBytesMax, offset: 16))
        ),
        ("vFile:close:5", .file(.close(5))),
        ("vFile:unlink:2f61", .file(.forbidden)),
        ("vFile:stat:2f61", .unsupported),
        ("vCont?", .resumeActions),
        ("vCont;c", .resume([ResumeRequest(.run)])),
        (
            "vCont;s:p400001.1;c",
            .resume([ResumeRequest(.step, thread: thread), ResumeRequest(.run)])
        ),
        (
            "vCont;r4011a1,4011b7:1;c",
            .resume([
                ResumeRequest(
                    .stepRange(start: .init(0x40_11A1), end: .init(0x40_11B7)), thread: one),
                ResumeRequest(.run),
            ])
        ),
        ("vCont;C0b:1", .resume([ResumeRequest(.run, signal: 11, thread: one)])),
        ("c", .resume([ResumeRequest(.run)])),
        ("s1000", .resume([ResumeRequest(.step, address: .init(0x1000))])),
        ("C05;1000", .resume([ResumeRequest(.run, signal: 5, address: .init(0x1000))])),
        (
            "qXfer:features:read:target.xml:0,ffb",
            .readObject(.targetDescription, offset: 0, byteCount: 0xFFB)
        ),
        ("qXfer:features:read:other.xml:0,ffb", .unknownAnnex),
        ("qXfer:auxv:read::0,1000", .unsupported),
        ("qOffsets", .sectionOffsets),
        ("qRcmd,68656c70", .monitor(Array("help".utf8))),
    ]

    @Test(arguments: understood)
    func `a body is understood`(_ body: String, _ expected: Command) throws {
        #expect(try Command(body: Array(body.utf8)) == expected)
    }

    @Test(arguments: [
        "m", "Z2,1000,0", "Z2,ffffffffffffffff,2", "Z4,0,ffffffffffffffff", "vAttach;", "vAttach;x",
        "qMemoryRegionInfo:", "qSearch:memory:1;2", "qSearch:memory:1;2;", "vFile:open:2f6,0,0",
        "vFile:open:2f61,0", "vFile:pread:5,1", "vFile:close:", "QRestoreRegisterState:",
        "g;thread", "p1;thread:1;x", "qXfer:threads:read::0", "m10", "m10,", "m,8", "mxyz,8",
        "m10,8 ", "m10000000000000000,8", "x1,2,3", "M10,2",
        "M10,2:abc", "M10,2:abcdef", "M10,2:xxyy", "X10,3:ab", "X10,2:abc", "X10,3", "p", "pzz",
        "P10", "P10=1", "P=00", "G0", "gx", "Z0,1", "Z0", "Z0,,1", "Z0,1,1;X1,0", "vCont;",
        "vCont;x", "vCont;r1:1", "vCont;C", "vCont;c;", "C", "C100", "sxy", "D;", "D;xx", "Dx",
        "qCRC:1", "qRcmd,6", "qXfer:features:read:target.xml:0", "vKill;",
    ])
    func `a malformed body is an error`(_ body: String) {
        #expect(throws: PacketError.malformed) { try Command(body: Array(body.utf8)) }
    }

    @Test(arguments: ["Hg", "Hgx", "T", "Tp", "Hgp1.", "T1x", "qThreadExtraInfo,"])
    func `a thread that is none is an error of its own`(_ body: String) {
        #expect(throws: PacketError.noSuchThread) { try Command(body: Array(body.utf8)) }
    }

    @Test(arguments: [
        "1", "01", "0001", "0", "-1", "p400001.1", "p400001.-1", "p400001", "p0.0", "p-1",
        "p0000000000400001.0001",
    ])
    func `every way to name the vCPU is accepted`(_ text: String) throws {
        let command = try Command(body: Array("T\(text)".utf8))
        guard case .isThreadAlive(let thread) = command else {
            Issue.record("not a thread question")
            return
        }
        #expect(identity.matches(thread))
    }

    @Test(arguments: ["2", "p1.1", "p400001.2", "a410"])
    func `other threads are not the vCPU`(_ text: String) throws {
        let command = try Command(body: Array("T\(text)".utf8))
        guard case .isThreadAlive(let thread) = command else {
            Issue.record("not a thread question")
            return
        }
        #expect(!identity.matches(thread))
    }

    @Test func `random bodies never do more than fail`() {
        var random = SplitMix(state: 11)
        let starts = Self.understood.map { Array($0.0.utf8) }
        for round in 0..<4000 {
            var body = starts[round % starts.count]
            let count = Int(random.next() % 12)
            for _ in 0..<count {
                let place = Int(random.next() % UInt64(body.count + 1))
                if random.next() & 1 == 0 || place == body.count {
                    body.insert(random.byte("0123456789abcdef,;:=p-."), at: place)
                } else {
                    body.remove(at: place)
                }
            }
            // Ending here at all is what is tested.
            _ = try? Command(body: body)
        }
    }
}
