import GuestABI
import GuestModel
import Hypervisor

/// Guest memory past the page tables, and what is mapped where.
extension Guest {
    /// Appends what has memory from `address` on; answers how many bytes that was.
    func read(
        at address: GuestPhysicalAddress, byteCount: Int, appendingTo bytes: inout [UInt8]
    ) -> Int {
        var done = 0
        for piece in Self.pages(at: address, byteCount: byteCount) {
            guard memory.read(at: piece.place, byteCount: piece.part.count, appendingTo: &bytes)
            else { break }
            done = piece.part.upperBound
        }
        return done
    }

    /// Writes all of `bytes`, or nothing and answers false if any byte has no memory.
    func write(_ bytes: [UInt8], at address: GuestPhysicalAddress) -> Bool {
        let pages = Self.pages(at: address, byteCount: bytes.count)
        guard pages.last?.part.upperBound == bytes.count || bytes.isEmpty,
            pages.allSatisfy({ memory.readUInt8(at: $0.place) != nil })
        else { return false }
        return pages.allSatisfy { memory.write(Array(bytes[$0.part]), at: $0.place) }
    }

    /// The bytes from `address` on, page by page, up to the last address there is.
    private static func pages(
        at address: GuestPhysicalAddress, byteCount: Int
    ) -> [MemoryPiece] {
        var pages: [MemoryPiece] = []
        var done = 0
        while done < byteCount {
            let (next, overflow) = address.rawValue.addingReportingOverflow(UInt64(done))
            guard !overflow else { break }
            let offset = Int(next & UInt64(guestPageBytes - 1))
            let count = min(byteCount - done, guestPageBytes - offset)
            pages.append(
                MemoryPiece(part: done..<done + count, place: GuestPhysicalAddress(next)))
            done += count
        }
        return pages
    }

    /// What is mapped around `address`: without paging, the guest's memory itself.
    func region(around address: GuestVirtualAddress) -> MappedRegion? {
        guard PagingMode(state.system) != .off else { return physicalRegion(around: address) }
        var walk = RegionWalk(system: state.system, memory: memory, areas: plan.areas)
        return walk.region(around: address)
    }

    private func physicalRegion(around address: GuestVirtualAddress) -> MappedRegion? {
        var first: UInt64 = 0
        var last = UInt64.max
        for region in memory.regions {
            let start = region.start.rawValue
            let end = start + UInt64(region.byteCount - 1)
            if (start...end).contains(address.rawValue) {
                return MappedRegion(
                    start: GuestVirtualAddress(start), last: GuestVirtualAddress(end),
                    permissions: region.isGuestWritable ? .all : [.read, .execute])
            }
            if end < address.rawValue { first = end + 1 } else { last = min(last, start - 1) }
        }
        return MappedRegion(
            start: GuestVirtualAddress(first), last: GuestVirtualAddress(last), permissions: nil)
    }
}
