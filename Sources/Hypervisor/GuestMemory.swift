import Glibc
package import GuestModel

/// The guest's physical memory in the worker's own address space.
///
/// Knows the regions and checks every access against them; the memory itself belongs to the caller.
@safe package final class GuestMemory: PhysicalMemory {
    /// In ascending order, without overlap.
    package private(set) var regions: [MemoryRegion] = []

    package init() {}

    /// Adds a region.
    /// - Throws: `.regionOverlaps` when it touches one that is there, or wraps around.
    package func add(_ region: MemoryRegion) throws(HypervisorError) {
        let (end, overflow) = region.start.rawValue.addingReportingOverflow(
            UInt64(region.byteCount))
        guard !overflow, region.byteCount > 0 else { throw .regionOverlaps(region.start) }
        for other in regions {
            let otherEnd = other.start.rawValue + UInt64(other.byteCount)
            guard end <= other.start.rawValue || region.start.rawValue >= otherEnd else {
                throw .regionOverlaps(region.start)
            }
        }
        regions.append(region)
        regions.sort { $0.start < $1.start }
    }

    /// Whether guest code may write the byte at `address` as far as memory regions are concerned.
    package func isGuestWritable(_ address: GuestPhysicalAddress) -> Bool? {
        region(holding: address, byteCount: 1)?.isGuestWritable
    }

    package func readUInt64(at address: GuestPhysicalAddress) -> UInt64? {
        guard let place = unsafe pointer(to: address, byteCount: 8) else { return nil }
        // SAFETY: `pointer` checked that eight bytes from here lie inside one region.
        return unsafe UInt64(littleEndian: place.loadUnaligned(as: UInt64.self))
    }

    package func read(
        at address: GuestPhysicalAddress, byteCount: Int, appendingTo bytes: inout [UInt8]
    ) -> Bool {
        guard byteCount > 0 else { return byteCount == 0 }
        guard let place = unsafe pointer(to: address, byteCount: byteCount) else { return false }
        // SAFETY: `pointer` checked that all `byteCount` bytes lie inside one region.
        unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: place, count: byteCount))
        return true
    }

    package func write(_ bytes: Span<UInt8>, at address: GuestPhysicalAddress) -> Bool {
        guard bytes.count > 0 else { return true }
        guard let place = unsafe pointer(to: address, byteCount: bytes.count) else {
            return false
        }
        // SAFETY: source and destination both hold `byteCount` bytes; a span never overlaps guest
        // memory, which is reached through this type only.
        unsafe bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            unsafe place.copyMemory(from: base, byteCount: source.count)
        }
        return true
    }

    /// Makes every byte zero, and takes no memory for pages that nobody has written.
    ///
    /// Giving the pages back costs nothing for those that nobody has used. It wants private anonymous
    /// memory, and a hypervisor that does not pin it.
    package func zero(givingPagesBack: Bool) {
        for region in regions where !givingPagesBack || !Self.giveBack(region) {
            Self.writeZeros(to: region)
        }
    }

    private static func giveBack(_ region: MemoryRegion) -> Bool {
        // SAFETY: the region is memory of the caller's, and nothing reads or writes it while the guest
        // stands; its pages are zero afterwards.
        unsafe madvise(region.host, region.byteCount, MADV_DONTNEED) == 0
    }

    private static func writeZeros(to region: MemoryRegion) {
        for offset in stride(from: 0, to: region.byteCount, by: guestPageBytes) {
            // SAFETY: a region is whole pages, and this one lies inside it; nothing else reads or
            // writes it while the guest stands.
            unsafe zeroPage(region.host + offset)
        }
    }

    private static func zeroPage(_ page: UnsafeMutableRawPointer) {
        // Reading an untouched page costs nothing that lasts, writing to it would. A page is zero
        // when its first byte is, and every byte equals the next one.
        let isZero =
            unsafe page.load(as: UInt8.self) == 0
            && memcmp(page, page + 1, guestPageBytes - 1) == 0
        if !isZero { unsafe memset(page, 0, guestPageBytes) }
    }

    private func region(holding address: GuestPhysicalAddress, byteCount: Int) -> MemoryRegion? {
        for region in regions where address >= region.start {
            let offset = address.rawValue - region.start.rawValue
            let size = UInt64(region.byteCount)
            if offset < size, UInt64(byteCount) <= size - offset { return region }
        }
        return nil
    }

    private func pointer(
        to address: GuestPhysicalAddress, byteCount: Int
    ) -> UnsafeMutableRawPointer? {
        guard byteCount >= 0, let region = region(holding: address, byteCount: byteCount) else {
            return nil
        }
        return unsafe region.host + Int(address.rawValue - region.start.rawValue)
    }
}
