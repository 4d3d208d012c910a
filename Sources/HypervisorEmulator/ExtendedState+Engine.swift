import CUnicorn
import GuestModel

/// The FXSAVE area and the engine's registers.
///
/// - Source: Intel SDM volume 1, "FXSAVE Area", "x87 FPU Data Registers" and "x87 FPU Tag Word".
extension ExtendedState {
    /// The bits of MXCSR that the engine's CPU has.
    private static let mxcsrMask: UInt32 = 0xFFFF

    init?(_ vector: cunicorn_vector, kernelGSBase: UInt64) {
        var vector = vector
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.put(UInt64(vector.control), at: 0, byteCount: 2)
        bytes.put(UInt64(vector.status), at: 2, byteCount: 2)
        bytes[4] = Self.shortTag(vector.tag)
        bytes.put(UInt64(vector.opcode), at: 6, byteCount: 2)
        bytes.put(vector.instruction, at: 8, byteCount: 8)
        bytes.put(vector.operand, at: 16, byteCount: 8)
        bytes.put(UInt64(vector.mxcsr), at: 24, byteCount: 4)
        bytes.put(UInt64(Self.mxcsrMask), at: 28, byteCount: 4)
        let top = Int(vector.status >> 11 & 7)
        // SAFETY: C arrays of 8 and 16 times 16 bytes; every index below lies inside.
        unsafe withUnsafeBytes(of: &vector.st) { registers in
            for index in 0..<8 {
                let physical = (top + index) & 7
                for byte in 0..<10 {
                    bytes[32 + index * 16 + byte] = unsafe registers[physical * 16 + byte]
                }
            }
        }
        unsafe withUnsafeBytes(of: &vector.xmm) { registers in
            for index in 0..<256 { bytes[160 + index] = unsafe registers[index] }
        }
        self.init(fxsave: bytes, kernelGSBase: kernelGSBase)
    }

    var emulatorVector: cunicorn_vector {
        var vector = cunicorn_vector()
        vector.control = UInt16(truncatingIfNeeded: bytes.number(at: 0, byteCount: 2))
        vector.status = UInt16(truncatingIfNeeded: bytes.number(at: 2, byteCount: 2))
        vector.tag = Self.longTag(bytes[4])
        vector.opcode = UInt16(truncatingIfNeeded: bytes.number(at: 6, byteCount: 2))
        vector.instruction = bytes.number(at: 8, byteCount: 8)
        vector.operand = bytes.number(at: 16, byteCount: 8)
        vector.mxcsr = mxcsr & Self.mxcsrMask
        let top = Int(vector.status >> 11 & 7)
        // SAFETY: as above.
        unsafe withUnsafeMutableBytes(of: &vector.st) { registers in
            for index in 0..<8 {
                let physical = (top + index) & 7
                for byte in 0..<10 {
                    unsafe registers[physical * 16 + byte] = bytes[32 + index * 16 + byte]
                }
            }
        }
        unsafe withUnsafeMutableBytes(of: &vector.xmm) { registers in
            for index in 0..<256 { unsafe registers[index] = bytes[160 + index] }
        }
        return vector
    }

    /// One bit a register, set when it is in use.
    private static func shortTag(_ tag: UInt16) -> UInt8 {
        (0..<8).reduce(0) { $0 | (tag >> (2 * $1) & 3 == 3 ? 0 : 1 << $1) }
    }

    /// Two bits a register: 3 is empty, and the engine works out the others by itself.
    private static func longTag(_ tag: UInt8) -> UInt16 {
        (0..<8).reduce(0) { $0 | (tag >> $1 & 1 == 1 ? 0 : 3 << (2 * $1)) }
    }
}

extension [UInt8] {
    fileprivate mutating func put(_ value: UInt64, at offset: Int, byteCount: Int) {
        for index in 0..<byteCount {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
        }
    }

    fileprivate func number(at offset: Int, byteCount: Int) -> UInt64 {
        self[offset..<offset + byteCount].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
