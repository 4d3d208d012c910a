import GuestModel

/// One run of guest memory in an array.
final class FlatMemory: PhysicalMemory {
    private let start: UInt64
    private var bytes: [UInt8]

    init(start: UInt64, byteCount: Int) {
        self.start = start
        bytes = [UInt8](repeating: 0, count: byteCount)
    }

    private func range(_ address: GuestPhysicalAddress, _ count: Int) -> Range<Int>? {
        guard address.rawValue >= start else { return nil }
        let offset = address.rawValue - start
        guard offset <= UInt64(bytes.count), bytes.count - Int(offset) >= count else { return nil }
        return Int(offset)..<Int(offset) + count
    }

    func bytes(at address: UInt64, count: Int) -> [UInt8]? {
        range(GuestPhysicalAddress(address), count).map { Array(bytes[$0]) }
    }

    func readUInt64(at address: GuestPhysicalAddress) -> UInt64? {
        range(address, 8).map { bytes[$0].reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    }

    func read(
        at address: GuestPhysicalAddress, byteCount: Int, appendingTo bytes: inout [UInt8]
    ) -> Bool {
        guard let range = range(address, byteCount) else { return false }
        bytes += self.bytes[range]
        return true
    }

    func write(_ bytes: Span<UInt8>, at address: GuestPhysicalAddress) -> Bool {
        guard let range = range(address, bytes.count) else { return false }
        for index in 0..<bytes.count { self.bytes[range.lowerBound + index] = bytes[index] }
        return true
    }
}
