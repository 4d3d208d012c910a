import Glibc
import GuestModel
import Hypervisor

/// Host memory for one test guest, with page tables in it.
///
/// The guest's physical memory is 1 MiB of writable memory at `ramStart` and one read-only region at
/// `readOnlyStart`; there is nothing else. The first GiB of virtual addresses is mapped one to one
/// (also at `highStart`), and a second range starting at `windowStart` has an empty page table at
/// `windowTable`, for guests that fill it in themselves.
@safe final class TestMemory {
    static let ramStart: UInt64 = 0x10_0000
    static let ramBytes = 0x10_0000
    static let readOnlyStart: UInt64 = 0x20_0000
    static let readOnlyBytes = 0x1_0000
    static let unmapped: UInt64 = 0x30_0000

    static let code: UInt64 = 0x10_1000
    static let data: UInt64 = 0x14_0000
    static let descriptors: UInt64 = 0x15_0000
    static let handler: UInt64 = 0x15_4000
    static let stackTop: UInt64 = 0x18_0000
    static let pageTable: UInt64 = 0x19_0000

    static let highStart: UInt64 = 0xFFFF_8000_0000_0000
    static let windowStart: UInt64 = 0x4000_0000
    static let windowTable: UInt64 = pageTable + 0x4000

    let guest = GuestMemory()
    private let host: UnsafeMutableRawPointer
    private static let hostBytes = ramBytes + readOnlyBytes

    init() throws {
        // SAFETY: a fresh anonymous mapping; nothing else refers to it.
        let place = unsafe mmap(
            nil, Self.hostBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let place = unsafe place, unsafe place != MAP_FAILED else {
            throw ConformanceFailure(description: "no host memory")
        }
        unsafe host = place
        // SAFETY: both regions lie inside the mapping made above.
        unsafe try guest.add(
            MemoryRegion(
                start: .init(Self.ramStart), byteCount: Self.ramBytes, isGuestWritable: true,
                host: host))
        unsafe try guest.add(
            MemoryRegion(
                start: .init(Self.readOnlyStart), byteCount: Self.readOnlyBytes,
                isGuestWritable: false, host: host + Self.ramBytes))
        writePageTables()
    }

    deinit {
        // SAFETY: made in `init`; the machine that used it is gone.
        unsafe _ = munmap(host, Self.hostBytes)
    }

    private func writePageTables() {
        let present: UInt64 = 0x3
        let table = Self.pageTable
        put(table, 0, (table + 0x1000) | present)
        put(table, 256, (table + 0x1000) | present)
        put(table + 0x1000, 0, (table + 0x2000) | present)
        put(table + 0x1000, 1, (table + 0x3000) | present)
        for index in 0..<512 {
            put(table + 0x2000, index, UInt64(index) << 21 | 0x80 | present)
        }
        put(table + 0x3000, 0, Self.windowTable | present)
    }

    private func put(_ table: UInt64, _ index: Int, _ entry: UInt64) {
        _ = guest.writeUInt64(entry, at: .init(table + UInt64(index) * 8))
    }
}
