import GuestModel
import Hypervisor
import Testing

@testable import HypervisorMSHV

/// What the driver makes of the hypervisor's messages; needs no hypervisor.
struct MessageTests {
    /// A message with these bytes of payload set; everything else is zero.
    private static func message(
        _ kind: UInt32, payload byteCount: Int, _ parts: [(offset: Int, hex: [UInt8])] = []
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        bytes.put(kind, at: 0)
        bytes[4] = UInt8(byteCount)
        for part in parts {
            for (index, byte) in part.hex.enumerated() { bytes[16 + part.offset + index] = byte }
        }
        return bytes
    }

    private static let rip: (offset: Int, hex: [UInt8]) = (
        24, [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]
    )
    private static let ripValue: UInt64 = 0x1122_3344_5566_7788

    private static func port(
        access: UInt8 = 1, info: UInt8, length: UInt8 = 0x21, payload: Int = 128
    ) -> [UInt8] {
        message(
            0x8001_0000, payload: payload,
            [
                rip, (4, [length]), (5, [access]), (40, [0x34, 0x12]), (42, [info]),
                (48, [0xF8, 0xF7, 0xF6, 0xF5, 0xF4, 0xF3, 0xF2, 0xF1]),
            ])
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let meaning: InterceptMessage
    }

    private static let cases: [Case] = [
        Case(
            testDescription: "a read of memory that is not there",
            bytes: message(
                0x8000_0000, payload: 80, [rip, (5, [0]), (56, [0x10, 0, 0x30, 0, 1])]),
            meaning: .memory(.init(0x1_0030_0010), .read)),
        Case(
            testDescription: "a write to memory that may not be written",
            bytes: message(0x8000_0001, payload: 80, [rip, (5, [1]), (56, [8, 0, 0x20])]),
            meaning: .memory(.init(0x20_0008), .write)),
        Case(
            testDescription: "a fetch", bytes: message(0x8000_0000, payload: 80, [rip, (5, [2])]),
            meaning: .fetch(rip: ripValue)),
        Case(
            testDescription: "a halt", bytes: message(0x8001_0007, payload: 40), meaning: .halt),
        Case(
            testDescription: "a triple fault", bytes: message(0x8000_0021, payload: 40),
            meaning: .unrecoverableException),
        Case(
            testDescription: "a register's value", bytes: message(0x8000_0020, payload: 8),
            meaning: .invalidRegister),
        Case(
            testDescription: "a feature",
            bytes: message(
                0x8000_0022, payload: 16, [(4, [7]), (8, [9, 0, 0, 0, 0, 0, 0, 0x80])]),
            meaning: .unsupportedFeature(7, parameter: 0x8000_0000_0000_0009)),
    ]

    @Test(arguments: cases)
    func `a message is what it says`(_ example: Case) throws {
        #expect(try InterceptMessage(example.bytes) == example.meaning)
    }

    @Test(
        arguments: [
            (1, 0xF8), (2, 0xF7F8), (4, 0xF5F6_F7F8),
        ] as [(UInt8, UInt32)])
    func `OUT has its size, its value and the length of its instruction`(
        _ size: UInt8, _ value: UInt32
    ) throws {
        guard case .port(let access) = try InterceptMessage(Self.port(info: size)) else {
            Issue.record("it is a port")
            return
        }
        #expect(access.port == 0x1234)
        #expect(access.output == PortIntercept.Output(size: size, value: value))
        #expect(access.rip == Self.ripValue)
        #expect(access.instructionLength == 1)
    }

    @Test(
        arguments: [
            ("IN", 0, 0x01), ("IN of four", 0, 0x04), ("INS", 0, 0x09), ("OUTS", 1, 0x0A),
            ("REP OUTS", 1, 0x1C),
        ] as [(String, UInt8, UInt8)])
    func `everything else at a port is named and has no value`(
        _ name: String, _ access: UInt8, _ info: UInt8
    ) throws {
        guard case .port(let access) = try InterceptMessage(Self.port(access: access, info: info))
        else {
            Issue.record("it is a port")
            return
        }
        #expect(access.output == nil && access.port == 0x1234)
    }

    @Test(
        arguments: [
            ("no size", 1, 0x00, 1), ("three bytes", 1, 0x03, 1), ("seven bytes", 1, 0x07, 1),
            ("execution", 2, 0x01, 1), ("an instruction without a length", 1, 0x01, 0xF0),
        ] as [(String, UInt8, UInt8, UInt8)])
    func `a port access that no CPU makes is refused`(
        _ name: String, _ access: UInt8, _ info: UInt8, _ length: UInt8
    ) {
        #expect(throws: HypervisorError.self) {
            try InterceptMessage(Self.port(access: access, info: info, length: length))
        }
    }

    @Test func `an exception has its vector, its place and its parameter`() throws {
        let bytes = Self.message(
            0x8001_0003, payload: 240,
            [Self.rip, (4, [0x01]), (40, [3, 0]), (48, [0xF1, 0x4F]), (112, [0xAA])])
        guard case .exception(let exception) = try InterceptMessage(bytes) else {
            Issue.record("it is an exception")
            return
        }
        #expect(exception.vector == 3)
        #expect(exception.rip == Self.ripValue)
        #expect(exception.instructionLength == 1)
        #expect(exception.parameter == 0x4FF1)
    }

    /// The first length at which each type has all that is read of it.
    private static let needed: [(kind: UInt32, byteCount: Int)] = [
        (0x8000_0000, 64), (0x8000_0001, 64), (0x8001_0000, 56), (0x8001_0003, 56),
        (0x8000_0022, 16),
    ]

    @Test(arguments: needed)
    func `a payload that ends too early is refused at every length`(
        _ kind: UInt32, _ byteCount: Int
    ) throws {
        let whole = Self.message(kind, payload: byteCount, [(4, [1]), (42, [1]), (5, [1])])
        _ = try InterceptMessage(whole)
        for short in 0..<byteCount {
            var bytes = whole
            bytes[4] = UInt8(short)
            #expect(throws: HypervisorError.self) { try InterceptMessage(bytes) }
        }
    }

    @Test func `a buffer that is cut anywhere is refused`() {
        let whole = Self.port(info: 1)
        for count in 0..<16 + 128 {
            #expect(throws: HypervisorError.self) {
                try InterceptMessage(Array(whole.prefix(count)))
            }
        }
    }

    @Test(arguments: [0, 1, 0x8001_0001, 0x8001_0002, 0x8000_0002, 0xFFFF_FFFF] as [UInt32])
    func `a message that nobody asked for is refused with its type`(_ kind: UInt32) {
        let number = String(kind, radix: 16)
        #expect {
            try InterceptMessage(Self.message(kind, payload: 240))
        } throws: {
            "\($0)".hasSuffix("unexpected type 0x\(number)")
        }
    }

    @Test func `a memory access that is none of three is refused`() {
        for access in [3, 4, 0xFF] as [UInt8] {
            #expect(throws: HypervisorError.self) {
                try InterceptMessage(Self.message(0x8000_0000, payload: 80, [(5, [access])]))
            }
        }
    }

    @Test func `any bytes at all are a message or an error`() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            var bytes = (0..<256).map { _ in UInt8.random(in: 0...255, using: &random) }
            if let kind = MessageKind.allCases.randomElement(using: &random) {
                bytes.put(kind.rawValue, at: 0)
            }
            _ = try? InterceptMessage(bytes)
        }
    }
}
