package import GuestModel

/// One of the two message buffers of a Hyperlight guest: a stack of messages in a fixed area.
///
/// The first eight bytes are the stack pointer, the offset of the next free byte, 8 when empty.
/// Each element is the message, directly followed by the offset where it starts. The guest may
/// write anything here, so each word is read once and checked, and a message is copied before it is
/// looked at.
///
/// - Source: Hyperlight guest ABI 0.17, the two buffers.
package struct GuestBuffer: Hashable, Sendable {
    /// Larger messages are refused, whatever the size of the buffer.
    package static let messageBytesMax = 1 << 24
    private static let empty: UInt64 = 8

    /// Where the host reads and writes it.
    package let start: GuestPhysicalAddress
    package let byteCount: UInt64

    /// The caller has checked that start plus size fits in 64 bits.
    package init(start: GuestPhysicalAddress, byteCount: UInt64) {
        self.start = start
        self.byteCount = byteCount
    }

    /// Takes the newest message, with its size prefix, and zeroes its place.
    package func pop(from memory: some PhysicalMemory) throws(MessageError) -> [UInt8] {
        let top = try word(at: 0, in: memory)
        guard top != Self.empty else { throw .empty }
        guard top >= 16, top <= byteCount else { throw .badStackPointer(top) }
        let back = try word(at: top - 8, in: memory)
        guard back >= Self.empty, back <= top - 16 else { throw .badBackPointer(back) }
        let size = try word(at: back, in: memory) & 0xFFFF_FFFF
        let total = size + 4
        guard total <= top - back - 8, total <= UInt64(Self.messageBytesMax) else {
            throw .badSize(size)
        }
        var message: [UInt8] = []
        guard memory.read(at: address(back), byteCount: Int(total), appendingTo: &message) else {
            throw .noMemory
        }
        // The copy decides: the guest may have changed the size since it was checked.
        guard message.span.littleEndian(UInt32.self, at: 0) == UInt32(size) else {
            throw .badSize(size)
        }
        try setWord(back, at: 0, in: memory)
        try zero(from: back, to: top, in: memory)
        return message
    }

    /// Puts `message`, which carries its own size prefix, on top.
    ///
    /// - Throws: `.full` when it does not fit; nothing is written then.
    package func push(
        _ message: [UInt8], to memory: some PhysicalMemory
    ) throws(MessageError) {
        let top = try word(at: 0, in: memory)
        guard top >= Self.empty, top <= byteCount else { throw .badStackPointer(top) }
        let needed = UInt64(message.count) + 8
        guard needed <= byteCount - top else { throw .full(byteCount: message.count) }
        guard memory.write(message, at: address(top)) else { throw .noMemory }
        try setWord(top, at: top + UInt64(message.count), in: memory)
        try setWord(top + needed, at: 0, in: memory)
    }

    private func address(_ offset: UInt64) -> GuestPhysicalAddress {
        GuestPhysicalAddress(start.rawValue + offset)
    }

    /// The word at `offset`, which need not be a multiple of 8.
    private func word(
        at offset: UInt64, in memory: some PhysicalMemory
    ) throws(MessageError) -> UInt64 {
        var bytes: [UInt8] = []
        guard memory.read(at: address(offset), byteCount: 8, appendingTo: &bytes),
            let value = bytes.span.littleEndian(UInt64.self, at: 0)
        else { throw .noMemory }
        return value
    }

    private func setWord(
        _ value: UInt64, at offset: UInt64, in memory: some PhysicalMemory
    ) throws(MessageError) {
        guard memory.writeUInt64(value, at: address(offset)) else { throw .noMemory }
    }

    private func zero(
        from: UInt64, to end: UInt64, in memory: some PhysicalMemory
    ) throws(MessageError) {
        let zeros = [UInt8](repeating: 0, count: guestPageBytes)
        var offset = from
        while offset < end {
            let count = Int(min(end - offset, UInt64(zeros.count)))
            guard memory.write(zeros.span.extracting(0..<count), at: address(offset)) else {
                throw .noMemory
            }
            offset += UInt64(count)
        }
    }
}
