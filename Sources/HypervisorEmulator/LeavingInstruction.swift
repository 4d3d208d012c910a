import GuestModel
import Hypervisor

/// An instruction that ends a run: it is never executed by the engine but by the driver.
///
/// - Source: Intel SDM volume 2, "OUT", "IN", "INS", "OUTS", "HLT" and "Instruction Prefixes".
enum LeavingInstruction: Hashable {
    case out(port: UInt16, size: UInt8, value: UInt32, byteCount: UInt64)
    case unsupported(port: UInt16)
    case halt(byteCount: UInt64)

    /// Nil when `bytes` do not start with such an instruction.
    /// - Parameters:
    ///   - bytes: up to 15 bytes from RIP on.
    ///   - registers: for the port in DX and the value in RAX.
    init?(_ bytes: [UInt8], registers: RegisterFile) {
        var index = 0
        var isSixteenBit = false
        while index < bytes.count, Self.isPrefix(bytes[index]) {
            isSixteenBit = isSixteenBit || bytes[index] == 0x66
            index += 1
        }
        guard index < bytes.count else { return nil }
        let opcode = bytes[index]
        let dx = UInt16(truncatingIfNeeded: registers.rdx)
        if opcode == 0xF4 {
            self = .halt(byteCount: UInt64(index + 1))
            return
        }
        if (0x6C...0x6F).contains(opcode) {
            self = .unsupported(port: dx)
            return
        }
        guard opcode & 0xF4 == 0xE4 else { return nil }
        let isPortInDX = opcode & 0x08 != 0
        guard isPortInDX || index + 1 < bytes.count else { return nil }
        let port = isPortInDX ? dx : UInt16(bytes[index + 1])
        let isOut = opcode & 0x02 != 0
        guard isOut else {
            self = .unsupported(port: port)
            return
        }
        let size: UInt8 = opcode & 0x01 == 0 ? 1 : isSixteenBit ? 2 : 4
        self = .out(
            port: port, size: size, value: Self.low(size, of: registers.rax),
            byteCount: UInt64(index + (isPortInDX ? 1 : 2)))
    }

    private static func low(_ size: UInt8, of value: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: value) & (size == 4 ? .max : (1 << (8 * UInt32(size))) - 1)
    }

    /// Operand size, repeat, segment and address size prefixes, and REX.
    private static func isPrefix(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x66, 0x67, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0x40...0x4F: true
        default: false
        }
    }
}
