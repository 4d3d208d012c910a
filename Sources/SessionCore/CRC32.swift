/// The checksum of `qCRC`: polynomial 0x04C11DB7, most significant bit first.
///
/// - Source: gdb manual, node "Separate Debug Files" and `qCRC` in "General Query Packets".
struct CRC32: Hashable, Sendable {
    private(set) var value: UInt32 = 0xFFFF_FFFF

    mutating func add(_ bytes: Span<UInt8>) {
        let table = Self.table
        for index in bytes.indices {
            let position = UInt8(truncatingIfNeeded: value >> 24) ^ bytes[index]
            value = value << 8 ^ table[Int(position)]
        }
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index) << 24) { value, _ in
            value & 0x8000_0000 == 0 ? value << 1 : value << 1 ^ 0x04C1_1DB7
        }
    }
}
