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

    @Test func `every entry of a walk can be seen, up to the one that ends it`() {
        mapLow()
        func steps(_ address: UInt64) -> [PageWalkStep] {
            PageWalk.steps(to: GuestVirtualAddress(address), system: system, memory: memory)
        }
        let whole = steps(0x1234)
        #expect(whole.map(\.level) == [4, 3, 2, 1])
        #expect(
            whole.map(\.place.rawValue)
                == [Self.start, Self.start + 0x1000, Self.start + 0x2000, Self.start + 0x3008])
        #expect(whole.last?.entry == (Self.start + 0x9000) | 3)
        #expect(steps(0x8000).last?.entry == 0)
        #expect(steps(1 << 39).count == 1)
        put(0x000F_FFFF_FFFF_F003, 0, 1)
        #expect(steps(1 << 39).map(\.level) == [4, 3])
        #expect(steps(1 << 39)[1].entry == nil)
        #expect(steps(1 << 63).isEmpty)
    }

    @Test func `bytes and words are read where they are, and not beyond`() {
        mapLow()
        put(0x1122_3344_5566_7788, 9, 0)
        #expect(memory.readUInt8(at: GuestPhysicalAddress(Self.start + 0x9001)) == 0x77)
        #expect(memory.readUInt8(at: GuestPhysicalAddress(Self.start + 0xFFFF)) == 0)
        #expect(memory.readUInt8(at: GuestPhysicalAddress(Self.start + 0x10000)) == nil)
        func word(_ address: UInt64) -> UInt64? {
            readVirtualUInt64(
                at: GuestVirtualAddress(address), system: system, memory: memory)
        }
        #expect(word(0x1000) == 0x1122_3344_5566_7788)
        #expect(word(0x1001) == 0x0011_2233_4455_6677)
        #expect(word(0x1FF9) == nil)
        #expect(word(0x8000) == nil)
    }

    /// Page 1 holds the gate of vector 14 at its start, page 2 a task with stack 3.
    private func findGate(low: UInt64, limit: UInt16 = 255) -> (InterruptGate, UInt64?)? {
        mapLow()
        put(low, 9, 28)
        put(0xFFFF_8000, 9, 29)
        put(0xCAFE_0000_0000_0000, 10, 6)
        put(0xBABE, 10, 7)
        var system = system
        system.idt = DescriptorTable(base: 0x1000, limit: limit)
        // Entry 3 is at base + 0x34.
        system.tr.base = 0x2000 + 2
        system.tr.limit = 0x67
        guard let gate = InterruptGate(vector: 14, system: system, memory: memory) else {
            return nil
        }
        let frame = gate.frame(interrupting: 0x7FFF, system: system, memory: memory)
        return (gate, frame?.rawValue)
    }

    @Test func `the gate of an exception says where its handler is and where its frame comes`()
        throws
    {
        let (gate, frame) = try #require(findGate(low: 0x1234_8E00_0008_5678))
        #expect(gate.handler.rawValue == 0xFFFF_8000_1234_5678)
        #expect(gate.selector == 8)
        #expect(gate.clearsInterruptFlag)
        #expect(frame == UInt64(0x7FF0 - 48))
        let (other, interruptStack) = try #require(findGate(low: 0x1234_8F03_0008_5678))
        #expect(other.stackIndex == 3)
        #expect(!other.clearsInterruptFlag)
        #expect(interruptStack == UInt64(0xBABE_CAF0 - 48))
    }

    @Test(arguments: [
        (UInt64(0x1234_0E00_0008_5678), UInt16(255)), (0x1234_8500_0008_5678, 255),
        (0x1234_8E00_0008_5678, 238),
    ])
    func `what is no gate has no handler`(low: UInt64, limit: UInt16) {
        #expect(findGate(low: low, limit: limit) == nil)
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
