import GuestModel
import Testing
import WireProtocol

/// Frames of a peer that wants to do harm.
@Suite struct HostileFrameTests {
    /// What is there of an extended state before its upper halves.
    private static let extended = hex("00020000") + [UInt8](repeating: 0, count: 512)

    @Test(arguments: [UInt16(0), 19, 100, 110, 200, 205, 300, 306, 405, 507, 0xFFFF])
    func `an unknown type is named`(_ type: UInt16) {
        let frame = Frames.make(type: type, [])
        #expect(throws: WireError.unknownType(type)) { try DebugRequest(frame: frame) }
        #expect(throws: WireError.unknownType(type)) { try DebugReply(frame: frame) }
        #expect(throws: WireError.unknownType(type)) { try WorkerOrder(frame: frame) }
        #expect(throws: WireError.unknownType(type)) { try WorkerNotice(frame: frame) }
        #expect(throws: WireError.unknownType(type)) { try StubOrder(frame: frame) }
        #expect(throws: WireError.unknownType(type)) { try StubNotice(frame: frame) }
    }

    @Test func `a frame above the limit is refused before anything is read`() {
        let frame = [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)
        #expect(throws: WireError.tooLong(frame.count)) { try DebugReply(frame: frame) }
    }

    @Test func `the header's spare bytes must be zero`() {
        var frame = DebugRequest.attach.encoded()
        frame[2] = 1
        #expect(throws: WireError.badValue("header")) { try DebugRequest(frame: frame) }
    }

    @Test(arguments: [UInt32(1), 0x7FFF_FFFF, 0xFFFF_FFFF])
    func `a header that lies about the length is refused`(_ announced: UInt32) {
        var frame = DebugRequest.attach.encoded()
        for index in 0..<4 {
            frame[4 + index] = UInt8(truncatingIfNeeded: announced >> (8 * index))
        }
        #expect(throws: WireError.lengthMismatch(announced: Int(announced), actual: 0)) {
            try DebugRequest(frame: frame)
        }
    }

    @Test(arguments: [
        // Memory lengths, one above the limit: read, and a count inside write and memory
        ("request", UInt16(2), hex("0000000000000000 f1ff0100"), "memory length"),
        ("request", 3, hex("0000000000000000 f1ff0100"), "length of memory"),
        ("reply", 104, hex("f1ff0100"), "length of memory"),
        ("reply", 104, hex("ffffffff"), "length of memory"),
        // Values that no case has
        ("request", 6, hex("02 0000000000000000"), "breakpoint kind"),
        ("request", 8, hex("03"), "resume mode"),
        ("request", 10, hex("03"), "detach mode"),
        ("reply", 102, hex("00"), "refusal"),
        ("reply", 105, hex("01000000 00"), "length of extended state"),
        ("reply", 105, hex("01020000"), "length of extended state"),
        ("reply", 105, extended + hex("01000000 00 00 0000000000000000"), "length of upper halves"),
        ("reply", 105, extended + hex("01010000"), "length of upper halves"),
        ("reply", 105, extended + hex("00000000 02"), "kernel GS base"),
        ("reply", 106, hex("09"), "stop reason"),
        ("reply", 106, hex("08 03"), "watch kind"),
        ("request", 12, hex("00 0000000000000000 0000000000000000"), "watched range"),
        ("request", 12, hex("00 ffffffffffffffff 0200000000000000"), "watched range"),
        ("request", 13, hex("03 0000000000000000 0100000000000000"), "watch kind"),
        ("request", 15, hex("0000000000000000 f1ff0100"), "memory length"),
        ("request", 18, hex("07"), "inspection"),
        ("reply", 108, hex("0100000000000000 0000000000000000 01 00 00000000"), "region"),
        ("reply", 108, hex("0000000000000000 0000000000000000 01 08 00000000"), "region"),
        ("reply", 109, hex("01000100"), "length of report"),
        ("reply", 107, hex("03"), "guest end"),
        ("reply", 107, hex("01 09"), "crash"),
        ("reply", 107, hex("01 08 0e 0200000000000000 02"), "fault address"),
        ("reply", 107, hex("01 01 0000000000000000 03"), "memory access"),
        ("reply", 107, hex("01 03 10000000"), "length of instruction"),
        ("reply", 107, hex("01 06 01200000"), "length of violation"),
        ("notice", 302, hex("0c 00000000"), "state"),
        ("notice", 303, hex("01200000"), "length of output"),
        ("notice", 304, hex("05 00000000"), "log level"),
        ("order", 201, hex("02"), "abi"),
    ])
    func `a value out of range is named`(
        _ kind: String, type: UInt16, payload: [UInt8], field: String
    ) {
        let frame = Frames.make(type: type, payload)
        #expect(throws: WireError.badValue(field)) {
            switch kind {
            case "request": _ = try DebugRequest(frame: frame)
            case "reply": _ = try DebugReply(frame: frame)
            case "notice": _ = try WorkerNotice(frame: frame)
            default: _ = try WorkerOrder(frame: frame)
            }
        }
    }

    @Test func `the largest legal values are taken`() throws {
        let memory = [UInt8](repeating: 0xAA, count: WireLimits.memoryBytesMax)
        #expect(try DebugReply(frame: DebugReply.memory(memory).encoded()) == .memory(memory))
        let write = DebugRequest.writeMemory(GuestVirtualAddress(1), memory)
        #expect(try DebugRequest(frame: write.encoded()) == write)
        let text = String(repeating: "t", count: WireLimits.textBytesMax)
        #expect(try WorkerNotice(frame: WorkerNotice.output(text).encoded()) == .output(text))
    }

    @Test func `text above the limit is cut and still a frame`() throws {
        let text = String(repeating: "ä", count: WireLimits.textBytesMax)
        let decoded = try WorkerNotice(frame: WorkerNotice.output(text).encoded())
        #expect(decoded == .output(String(text.prefix(WireLimits.textBytesMax / 2))))
    }

    @Test func `bytes that are no text become replacement characters`() throws {
        let frame = Frames.make(type: 303, hex("02000000 ff41"))
        #expect(try WorkerNotice(frame: frame) == .output("\u{FFFD}A"))
    }

    @Test func `replacement characters do not make a text longer than the limit`() throws {
        let bytes = [UInt8](repeating: 0xFF, count: WireLimits.textBytesMax)
        let count = UInt32(bytes.count)
        let prefix = (0..<4).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
        let notice = try WorkerNotice(frame: Frames.make(type: 303, prefix + bytes))
        let expected = String(repeating: "\u{FFFD}", count: WireLimits.textBytesMax / 3)
        #expect(notice == .output(expected))
        #expect(try WorkerNotice(frame: notice.encoded()) == notice)
    }

    @Test func `a cut text ends with a whole character`() throws {
        let text = "a" + String(repeating: "ä", count: WireLimits.textBytesMax / 2)
        let decoded = try WorkerNotice(frame: WorkerNotice.output(text).encoded())
        #expect(decoded == .output(String(text.dropLast())))
    }

    @Test(arguments: [(UInt8(5), "number of windows"), (4, nil)])
    func `a stop has at most four windows`(_ count: UInt8, field: String?) throws {
        let stop = StopEvent(reason: .stepped, state: VCPUState(), windows: [])
        var frame = DebugReply.stopped(stop).encoded()
        frame[frame.count - 1] = count
        let window = hex("0010000000000000 00000000")
        let content = frame + Array(repeating: window, count: Int(count)).flatMap { $0 }
        if let field {
            #expect(throws: WireError.badValue(field)) {
                try DebugReply(frame: Frames.announcing(content))
            }
        } else {
            #expect(isAccepted(DebugReply.self, Frames.announcing(content)))
        }
    }

    @Test(arguments: [hex("ffffffffffffffff 02000000 0000"), hex("0000000000000000 01040000")])
    func `a window that wraps or is too long is refused`(_ window: [UInt8]) {
        let stop = StopEvent(reason: .stepped, state: VCPUState(), windows: [])
        var frame = DebugReply.stopped(stop).encoded()
        frame[frame.count - 1] = 1
        #expect(!isAccepted(DebugReply.self, Frames.announcing(frame + window)))
    }
}

/// The bytes of a text of hexadecimal digits; spaces part the fields.
func hex(_ text: String) -> [UInt8] {
    let digits = text.utf8.compactMap { UInt8(String(UnicodeScalar($0)), radix: 16) }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
