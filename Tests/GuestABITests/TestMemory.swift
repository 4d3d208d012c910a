import GuestABI
import GuestModel

/// Guest memory in arrays, one for each region.
final class TestMemory: PhysicalMemory {
    private var regions: [(start: UInt64, bytes: [UInt8])]

    init(_ regions: [GuestRegion]) {
        self.regions = regions.map {
            ($0.start.rawValue, [UInt8](repeating: 0, count: $0.byteCount))
        }
    }

    init(start: UInt64, byteCount: Int) {
        regions = [(start, [UInt8](repeating: 0, count: byteCount))]
    }

    private func place(_ address: GuestPhysicalAddress, _ count: Int) -> (Int, Int)? {
        for (index, region) in regions.enumerated() where address.rawValue >= region.start {
            let offset = address.rawValue - region.start
            if offset <= UInt64(region.bytes.count), region.bytes.count - Int(offset) >= count {
                return (index, Int(offset))
            }
        }
        return nil
    }

    func bytes(at address: UInt64, count: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        return read(at: GuestPhysicalAddress(address), byteCount: count, appendingTo: &bytes)
            ? bytes : nil
    }

    func word(at address: UInt64) -> UInt64? { readUInt64(at: GuestPhysicalAddress(address)) }

    func readUInt64(at address: GuestPhysicalAddress) -> UInt64? {
        guard let (region, offset) = place(address, 8) else { return nil }
        return (0..<8).reduce(0) { $0 | UInt64(regions[region].bytes[offset + $1]) << (8 * $1) }
    }

    func read(
        at address: GuestPhysicalAddress, byteCount: Int, appendingTo bytes: inout [UInt8]
    ) -> Bool {
        guard let (region, offset) = place(address, byteCount) else { return false }
        bytes.append(contentsOf: regions[region].bytes[offset..<offset + byteCount])
        return true
    }

    func write(_ bytes: Span<UInt8>, at address: GuestPhysicalAddress) -> Bool {
        guard let (region, offset) = place(address, bytes.count) else { return false }
        for index in 0..<bytes.count { regions[region].bytes[offset + index] = bytes[index] }
        return true
    }
}
