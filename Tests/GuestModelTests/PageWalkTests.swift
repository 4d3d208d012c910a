import GuestModel
import Testing

/// Page walks over tables that a hostile guest could have written.
struct PageWalkTests {
    private static let start: UInt64 = 0x10_0000
    private let memory = FlatMemory(start: start, byteCount: 0x10000)
    private let system = SystemRegisters.longMode(pageTable: GuestPhysicalAddress(start))

    private func put(_ value: UInt64, _ table: UInt64, _ slot: UInt64) {
        let address = GuestPhysicalAddress(Self.start + 0x1000 * table + 8 * slot)
        #expect(memory.writeUInt64(value, at: address))
    }

    /// Address 0 and up: tables 0 to 3, the first eight pages lead to page 8 of the memory and on.
    private func mapLow() {
        put((Self.start + 0x1000) | 3, 0, 0)
        put((Self.start + 0x2000) | 3, 1, 0)
        put((Self.start + 0x3000) | 3, 2, 0)
        for page: UInt64 in 0..<8 { put((Self.start + 0x8000 + 0x1000 * page) | 3, 3, page) }
    }

    private func translate(_ address: UInt64, _ system: SystemRegisters? = nil) -> Translation? {
        PageWalk.translate(
            GuestVirtualAddress(address), system: system ?? self.system, memory: memory)
    }

    @Test func `a small page keeps the offset`() throws {
        mapLow()
        let found = try #require(translate(0x1234))
        #expect(found.physicalAddress.rawValue == Self.start + 0x9234)
        #expect(found.pageByteCount == 4096)
        #expect(found.bytesToPageEnd == 0xDCC)
        #expect(translate(0x8000) == nil)
    }

    @Test func `large pages end the walk early`() throws {
        mapLow()
        put(0x4000_0000 | 0x83 | 0x1000, 1, 1)
        put(0x0060_0000 | 0x83, 2, 2)
        let huge = try #require(translate(0x4012_3456))
        #expect(huge.physicalAddress.rawValue == 0x4012_3456)
        #expect(huge.pageByteCount == 1 << 30)
        let large = try #require(translate(0x0041_2345))
        #expect(large.physicalAddress.rawValue == 0x0061_2345)
        #expect(large.pageByteCount == 1 << 21)
    }

    @Test func `rights are those of all levels`() throws {
        mapLow()
        put((Self.start + 0x2000) | 0x8000_0000_0000_0001, 1, 0)
        let found = try #require(translate(0))
        #expect(!found.isWritable && !found.isExecutable)
        var noNX = system
        noNX.efer &= ~(1 << 11)
        #expect(translate(0, noNX)?.isExecutable == true)
    }

    @Test(arguments: [(UInt64(0x261), true), (0x061, false), (0x661, false), (0xE61, false)])
    func `copy on write is bit 9 alone`(flags: UInt64, expected: Bool) {
        mapLow()
        put((Self.start + 0x8000) | flags, 3, 0)
        #expect(translate(0)?.isCopyOnWrite == expected)
    }

    @Test(arguments: [UInt64(0x8000_0000_0000), 0xFFFF_7FFF_FFFF_FFFF, 1 << 63])
    func `addresses that are not canonical are not mapped`(address: UInt64) {
        mapLow()
        #expect(translate(address) == nil)
    }

    @Test func `loops, wild tables and the first level's large bit end the walk`() {
        put(Self.start | 3, 0, 0)  // a table that contains itself
        #expect(translate(0)?.physicalAddress.rawValue == Self.start)
        put(0x000F_FFFF_FFFF_F003, 0, 1)
        #expect(translate(1 << 39) == nil)
        put(Self.start | 0x83, 0, 2)
        #expect(translate(2 << 39) == nil)
        var wild = system
        wild.cr3 = .max
        #expect(translate(0, wild) == nil)
    }

    @Test func `a write over its own page tables goes where they led before`() {
        mapLow()
        put((Self.start + 0x3000) | 3, 3, 1)  // page 1 is the last table
        let bytes = [UInt8](repeating: 0xA5, count: 0x2000)
        let isWritten = writeVirtual(
            bytes.span, at: GuestVirtualAddress(0x1000), system: system, memory: memory)
        #expect(isWritten)
        let page = [UInt8](repeating: 0xA5, count: 0x1000)
        #expect(memory.bytes(at: Self.start + 0x3000, count: 0x1000) == page)
        #expect(memory.bytes(at: Self.start + 0xA000, count: 0x1000) == page)
    }

    @Test func `without paging addresses are physical`() {
        var plain = SystemRegisters()
        #expect(translate(0x1234, plain)?.physicalAddress.rawValue == 0x1234)
        #expect(translate(1 << 32, plain) == nil)
        plain.cr0 = 1 << 31  // 32-bit paging
        #expect(translate(0x1234, plain) == nil)
        var fiveLevels = system
        fiveLevels.cr4 |= 1 << 12
        #expect(translate(0, fiveLevels) == nil)
    }

    private func range(_ start: UInt64, _ count: Int) throws -> GuestVirtualRange {
        try #require(GuestVirtualRange(start: GuestVirtualAddress(start), byteCount: count))
    }

    @Test func `reading stops at the first page that is not there`() throws {
        mapLow()
        put(0, 3, 2)
        var bytes: [UInt8] = [1]
        let count = readVirtual(
            try range(0x1800, 0x2000), system: system, memory: memory, appendingTo: &bytes)
        #expect(count == 0x800)
        #expect(bytes.count == 0x801)
    }

    @Test func `the last byte of the address space can be asked for`() throws {
        var bytes: [UInt8] = []
        let last = try range(.max, 1)
        #expect(readVirtual(last, system: system, memory: memory, appendingTo: &bytes) == 0)
    }

    private func write(_ bytes: [UInt8], at start: UInt64) -> Bool {
        writeVirtual(
            bytes.span, at: GuestVirtualAddress(start), system: system, memory: memory)
    }

    @Test func `writing crosses pages, or does nothing`() throws {
        mapLow()
        let bytes: [UInt8] = [1, 2, 3, 4]
        #expect(write(bytes, at: 0x1FFE))
        #expect(memory.bytes(at: Self.start + 0x9FFE, count: 4) == bytes)
        put(0, 3, 2)
        let other: [UInt8] = [9, 9, 9, 9]
        #expect(!write(other, at: 0x1FFE))
        #expect(memory.bytes(at: Self.start + 0x9FFE, count: 2) == [1, 2])
    }
}
