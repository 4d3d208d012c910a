import Glibc
import GuestModel
import Hypervisor
import Testing

struct GuestMemoryTests {
    private static let start: UInt64 = 0x10_0000
    private static let byteCount = 64 * guestPageBytes

    /// Memory in which the page at `writtenPage` was written.
    private func withMemory(_ body: (GuestMemory, UnsafeMutableRawPointer) throws -> Void) throws {
        let place = unsafe try #require(
            mmap(
                nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { unsafe _ = munmap(place, Self.byteCount) }
        let memory = GuestMemory()
        unsafe try memory.add(
            MemoryRegion(
                start: .init(Self.start), byteCount: Self.byteCount, isGuestWritable: true,
                host: place))
        #expect(memory.writeUInt64(7, at: Self.written))
        unsafe try body(memory, place)
    }

    private static let written = GuestPhysicalAddress(start + 3 * UInt64(guestPageBytes))

    /// How many pages take memory or are mapped to the page of zeros.
    private func residentPages(_ place: UnsafeMutableRawPointer) -> Int {
        var pages = [UInt8](repeating: 0, count: Self.byteCount / guestPageBytes)
        unsafe #expect(mincore(place, Self.byteCount, &pages) == 0)
        return pages.count { $0 & 1 == 1 }
    }

    @Test func `zeroing by giving pages back looks at none of them`() throws {
        try withMemory { memory, place in
            unsafe #expect(residentPages(place) == 1)
            memory.zero(givingPagesBack: true)
            unsafe #expect(residentPages(place) == 0)
            #expect(memory.readUInt64(at: Self.written) == 0)
        }
    }

    @Test func `zeroing in place keeps the pages that were written`() throws {
        try withMemory { memory, place in
            memory.zero(givingPagesBack: false)
            #expect(memory.readUInt64(at: Self.written) == 0)
            unsafe #expect(residentPages(place) > 0)
        }
    }
}
