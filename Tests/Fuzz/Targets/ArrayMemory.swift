import GuestModel

/// Guest memory in arrays, which counts how often it was asked and can change under the reader.
final class ArrayMemory: PhysicalMemory {
    struct Region {
        let start: UInt64
        var bytes: [UInt8]
    }

    private(set) var regions: [Region]
    private(set) var wordReads = 0
    /// Called before each access with the number of accesses so far.
    var disturb: ((Int, inout [Region]) -> Void)?
    private var accesses = 0

    init(_ regions: [Region]) { self.regions = regions }

    private func place(_ address: GuestPhysicalAddress, _ count: Int) -> (Int, Range<Int>)? {
        disturb?(accesses, &regions)
        accesses += 1
        for (index, region) in regions.enumerated() where address.rawValue >= region.start {
            let offset = address.rawValue - region.start
            guard offset <= UInt64(region.bytes.count) else { continue }
            if region.bytes.count - Int(offset) >= count {
                return (index, Int(offset)..<Int(offset) + count)
            }
        }
        return nil
    }

    func readUInt64(at address: GuestPhysicalAddress) -> UInt64? {
        wordReads += 1
        guard let (region, range) = place(address, 8) else { return nil }
        return regions[region].bytes[range].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    func read(
        at address: GuestPhysicalAddress, byteCount: Int, appendingTo bytes: inout [UInt8]
    ) -> Bool {
        guard let (region, range) = place(address, byteCount) else { return false }
        bytes += regions[region].bytes[range]
        return true
    }

    func write(_ bytes: Span<UInt8>, at address: GuestPhysicalAddress) -> Bool {
        guard let (region, range) = place(address, bytes.count) else { return false }
        for index in bytes.indices {
            regions[region].bytes[range.lowerBound + index] = bytes[index]
        }
        return true
    }
}
