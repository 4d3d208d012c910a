import GuestModel
import Testing

/// What is mapped around an address, in tables that a hostile guest could have written.
struct RegionWalkTests {
    private static let start: UInt64 = 0x10_0000
    private static let pages: UInt64 = 32
    private let memory = FlatMemory(start: start, byteCount: Int(pages) * 0x1000)
    private let system = SystemRegisters.longMode(pageTable: GuestPhysicalAddress(start))

    private func put(_ value: UInt64, _ table: UInt64, _ slot: UInt64) {
        let address = GuestPhysicalAddress(Self.start + 0x1000 * table + 8 * slot)
        #expect(memory.writeUInt64(value, at: address))
    }

    /// Address 0 and up: tables 0 to 3; pages 2 to 9 are writable, 10 and 11 are not.
    private func mapLow() {
        put(page(1) | 3, 0, 0)
        put(page(2) | 3, 1, 0)
        put(page(3) | 3, 2, 0)
        for index: UInt64 in 2..<10 { put(page(8 + index) | 3, 3, index) }
        for index: UInt64 in 10..<12 { put(page(8 + index) | 1, 3, index) }
    }

    private func page(_ number: UInt64) -> UInt64 { Self.start + 0x1000 * number }

    private func region(
        _ address: UInt64, _ areas: [MemoryArea] = [], system: SystemRegisters? = nil,
        entriesMax: Int = 1 << 17
    ) -> MappedRegion? {
        var walk = RegionWalk(system: system ?? self.system, memory: memory, areas: areas)
        return walk.region(around: GuestVirtualAddress(address), entriesMax: entriesMax)
    }

    private func expect(
        _ region: MappedRegion?, _ start: UInt64, _ last: UInt64,
        _ permissions: MemoryPermissions?, name: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(
            region
                == MappedRegion(
                    start: GuestVirtualAddress(start), last: GuestVirtualAddress(last),
                    permissions: permissions, name: name),
            sourceLocation: sourceLocation)
    }

    @Test(arguments: [UInt64(0x2000), 0x5678, 0x9FFF])
    func `equal neighbours are one region`(address: UInt64) {
        mapLow()
        expect(region(address), 0x2000, 0x9FFF, .all)
    }

    @Test func `other rights and holes end a region`() {
        mapLow()
        expect(region(0xA000), 0xA000, 0xBFFF, [.read, .execute])
        expect(region(0), 0, 0x1FFF, nil)
    }

    @Test(arguments: [UInt64(0xC000), 1 << 30, 1 << 47, .max])
    func `a hole reaches to the next page that is mapped, over all that is no address`(
        address: UInt64
    ) {
        mapLow()
        expect(region(address), 0xC000, .max, nil)
    }

    @Test func `a page at the top is met from below, and the last region ends with the last byte`()
    {
        mapLow()
        put(page(4) | 3, 0, 511)
        put(page(5) | 3, 4, 511)
        put(page(6) | 3, 5, 511)
        put(page(20) | 3, 6, 510)
        expect(region(0xC000), 0xC000, ~0x1FFF - 1, nil)
        expect(region(~0x1FFF), ~0x1FFF, ~0x0FFF - 1, .all)
        expect(region(.max), ~0x0FFF, .max, nil)
        put(page(20) | 3, 6, 511)
        expect(region(.max), ~0x1FFF, .max, .all)
    }

    @Test func `large pages are part of the run`() {
        mapLow()
        // 2 MiB that are all there would need 2 MiB of memory: this one is there in part.
        put(0x10_0000 & ~0x1F_FFFF | 0x83, 2, 1)
        expect(region(0x30_0000), 0x30_0000, 0x30_0000 + Self.pages * 0x1000 - 1, .all)
        expect(region(0x20_0000), 0xC000, 0x2F_FFFF, nil)
    }

    @Test func `a page without memory is a hole`() {
        mapLow()
        put(0x7000_0000 | 3, 3, 5)
        expect(region(0x5000), 0x5000, 0x5FFF, nil)
        expect(region(0x2000), 0x2000, 0x4FFF, .all)
    }

    @Test func `names cut regions, and holes have none`() throws {
        mapLow()
        let areas = [
            try #require(MemoryArea("one", at: 0x1000, byteCount: 0x2000)),
            try #require(MemoryArea("two", at: 0x4000, byteCount: 0x10_0000)),
        ]
        expect(region(0x2000, areas), 0x2000, 0x2FFF, .all, name: "one")
        expect(region(0x3000, areas), 0x3000, 0x3FFF, .all)
        expect(region(0x4000, areas), 0x4000, 0x9FFF, .all, name: "two")
        expect(region(0xA000, areas), 0xA000, 0xBFFF, [.read, .execute], name: "two")
        expect(region(0xC000, areas), 0xC000, .max, nil)
        expect(region(0x1000, areas), 0, 0x1FFF, nil)
    }

    @Test func `tables that lead in circles cost no more than was allowed`() {
        // All of them are the first one: 2^36 pages, each mapped.
        for slot: UInt64 in 0..<512 { put(Self.start | 3, 0, slot) }
        let found = region(0x1234_5000, entriesMax: 1000)
        #expect(found?.permissions == .all)
        // Mostly one entry a page, and four where a table ends.
        let most: UInt64 = 1000 * 0x1000
        #expect((0x1234_5000 - most...0x1234_5000 - most / 2).contains(found?.start.rawValue ?? 0))
        #expect((0x1234_5000 + most / 2...0x1234_5FFF + most).contains(found?.last.rawValue ?? 0))
    }

    @Test func `empty tables without end cost no more than was allowed`() {
        // Every table is full of entries that lead to one empty last-level table.
        for slot: UInt64 in 0..<512 {
            put(page(1) | 3, 0, slot)
            put(page(2) | 3, 1, slot)
            put(page(3) | 3, 2, slot)
        }
        let cut = region(0, entriesMax: 100)
        #expect(cut?.permissions == nil)
        #expect((0x1000..<0x10_0000).contains(cut?.last.rawValue ?? 0))
    }

    @Test func `a table without memory and the first level's large bit are holes`() {
        mapLow()
        put(0x000F_FFFF_FFFF_F003, 0, 1)
        put(Self.start | 0x83, 0, 2)
        put(0x000F_FFFF_FFFF_F003, 1, 1)
        expect(region(1 << 39), 0xC000, .max, nil)
        expect(region(2 << 39), 0xC000, .max, nil)
        var wild = system
        wild.cr3 = .max
        expect(region(0x2000, system: wild), 0, .max, nil)
    }

    @Test func `without the no-execute bit in force everything can be executed`() {
        mapLow()
        put(page(10) | 3 | 1 << 63, 3, 2)
        expect(region(0x2000), 0x2000, 0x2FFF, [.read, .write])
        var old = system
        old.efer &= ~(1 << 11)
        expect(region(0x2000, system: old), 0x2000, 0x9FFF, .all)
    }

    @Test func `a paging mode that is not looked into shows one hole`() {
        mapLow()
        var fiveLevels = system
        fiveLevels.cr4 |= 1 << 12
        expect(region(0x2000, system: fiveLevels), 0, .max, nil)
    }

    @Test func `asking on from the end of each region comes to the end of the address space`() {
        mapLow()
        var next: UInt64 = 0
        var found: [MemoryPermissions?] = []
        while let region = region(next), found.count < 10 {
            #expect(region.start.rawValue == next)
            found.append(region.permissions)
            guard region.last.rawValue < .max else { break }
            next = region.last.rawValue + 1
        }
        #expect(found == [nil, .all, [.read, .execute], nil])
    }
}
