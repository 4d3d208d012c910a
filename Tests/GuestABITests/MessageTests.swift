import GuestModel
import Testing

@testable import GuestABI

/// Messages of real guests, and of guests that lie.
struct MessageTests {
    private let buffer = GuestBuffer(start: GuestPhysicalAddress(0x1000), byteCount: 0x2000)
    private let memory = TestMemory(start: 0x1000, byteCount: 0x2000)

    init() {
        #expect(memory.writeUInt64(8, at: buffer.start))
    }

    @Test func `a real guest's log record is decoded`() throws {
        let record = try GuestLogRecord(message: Golden.bytes("guest-log.hex"))
        #expect(record.message == "hyperlight_main;")
        #expect(record.source == "hyperlight_wasm_runtime::component")
        #expect(record.level == .information)
        #expect(record.caller == "tracing::span")
        #expect(record.sourceFile == "src/component.rs")
        #expect(record.line == 110)
    }

    @Test(arguments: [
        (
            "guest-hostcall-CurrentTimeMicros.hex", "CurrentTimeMicros",
            HostCallRequest.CallType.host,
            UInt8(3), 0
        ),
        ("call-noparams.hex", "NoSuchFunction", .guest, 0, 0),
        ("call-allkinds.hex", "AllKinds", .guest, 9, 9),
        ("call-register_handler.hex", "register_handler", .guest, 8, 3),
    ])
    func `calls are decoded`(
        file: String, name: String, type: HostCallRequest.CallType, returns: UInt8,
        parameters: Int
    ) throws {
        let call = try HostCallRequest(message: Golden.bytes(file))
        #expect(call.name == name)
        #expect(call.callType == type)
        #expect(call.expectedReturnType == returns)
        #expect(call.parameterCount == parameters)
    }

    @Test func `an error answer is byte-equal to the golden one`() throws {
        let answer = HostCallAnswer.error(text: "HostFunction X was not found")
        #expect(answer == (try Golden.bytes("hostresult-error.hex")))
    }

    @Test(arguments: ["", "a", "\u{E9}\u{1F600}", String(repeating: "\u{E9}", count: 2000)])
    func `error answers of any text decode again`(text: String) throws {
        let answer = HostCallAnswer.error(code: 4, text: text)
        #expect(answer.count % 8 == 0)
        let root = try MessageTable(root: answer)
        #expect(try root.number(UInt8.self, 0, "tag") == 2)
        let error = try root.table(1, "value")
        #expect(try error.number(UInt64.self, 0, "code") == 4)
        let expected = text.utf8.count > 1024 ? String(repeating: "\u{E9}", count: 512) : text
        #expect(try error.string(1, "text") == expected)
    }

    @Test func `pushing gives the golden buffer and popping empties it`() throws {
        let message = try Golden.bytes("call-noparams.hex")
        try buffer.push(message, to: memory)
        let golden = try Golden.bytes("input-stack-after-push.hex")
        #expect(memory.bytes(at: 0x1000, count: golden.count) == golden)
        #expect(try buffer.pop(from: memory) == message)
        let zeros = [UInt8](repeating: 0, count: golden.count - 8)
        #expect(memory.bytes(at: 0x1008, count: zeros.count) == zeros)
        #expect(throws: MessageError.empty) { _ = try buffer.pop(from: memory) }
    }

    @Test func `messages come back newest first`() throws {
        let first: [UInt8] = [5, 0, 0, 0, 0xAA, 1, 2, 3, 4]
        let second: [UInt8] = [4, 0, 0, 0, 0xBB, 0xCC, 0xDD, 0xEE]
        try buffer.push(first, to: memory)
        try buffer.push(second, to: memory)
        #expect(try buffer.pop(from: memory) == second)
        #expect(try buffer.pop(from: memory) == first)
    }

    @Test func `a message that does not fit is refused and changes nothing`() throws {
        let largest = [UInt8](repeating: 0, count: 0x2000 - 16)
        #expect(throws: MessageError.full(byteCount: largest.count + 1)) {
            try buffer.push(largest + [0], to: memory)
        }
        #expect(memory.word(at: 0x1000) == 8)
        try buffer.push(largest, to: memory)
        #expect(memory.word(at: 0x1000) == 0x2000)
    }

    @Test(arguments: [
        (UInt64(0), UInt64(0), MessageError.badStackPointer(0)),
        (15, 0, .badStackPointer(15)),
        (0x2001, 0, .badStackPointer(0x2001)),
        (.max, 0, .badStackPointer(.max)),
        (0x48, 7, .badBackPointer(7)),
        (0x48, 0x39, .badBackPointer(0x39)),
        (0x48, .max, .badBackPointer(.max)),
        (0x48, 8, .badSize(0xFFFF_FFFF)),
    ])
    func `lies in a buffer are refused`(top: UInt64, back: UInt64, expected: MessageError) {
        #expect(memory.writeUInt64(top, at: buffer.start))
        #expect(memory.writeUInt64(back, at: GuestPhysicalAddress(0x1040)))
        #expect(memory.writeUInt64(.max, at: GuestPhysicalAddress(0x1008)))
        #expect(throws: expected) { _ = try buffer.pop(from: memory) }
    }

    @Test(arguments: ["guest-log.hex", "guest-hostcall-CurrentTimeMicros.hex"])
    func `no single changed byte of a message traps`(file: String) throws {
        let message = try Golden.bytes(file)
        for offset in message.indices {
            for value: UInt8 in [0, 1, 0x7F, 0x80, 0xFF] {
                let changed = message.patched(value, at: offset)
                _ = try? GuestLogRecord(message: changed)
                _ = try? HostCallRequest(message: changed)
            }
        }
        for count in message.indices {
            #expect(throws: MessageError.malformed("size prefix")) {
                _ = try GuestLogRecord(message: Array(message[..<count]))
            }
        }
    }
}
