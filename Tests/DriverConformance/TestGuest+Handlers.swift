import GuestModel
import Hypervisor

extension TestGuest {
    static let interruptStackTop: UInt64 = 0x17_0000

    private static let gdt = TestMemory.descriptors
    private static let tss = TestMemory.descriptors + 0x800
    private static let idt = TestMemory.descriptors + 0x1000

    /// Gives the guest a GDT, a TSS and an IDT with one gate, which leads to `code`.
    /// - Parameters:
    ///   - code: placed at `TestMemory.handler`; starts with interrupts off.
    ///   - vector: page fault unless told otherwise.
    ///   - stackIndex: 0 to stay on the stack, 1 for one of its own below `interruptStackTop`.
    /// - Throws: the driver's error, or `ConformanceFailure` when something does not fit.
    func installHandler(_ code: [UInt8], vector: UInt64 = 14, stackIndex: UInt64 = 0) throws {
        try place(code, at: TestMemory.handler)
        try put(0x0020_9B00_0000_0000, at: Self.gdt + 8)  // 64-bit code, ring 0
        try put(0x0000_9300_0000_FFFF, at: Self.gdt + 16)  // data
        // The stack of index 1 lies at offset 36 of the TSS, across two words.
        try put(Self.interruptStackTop << 32, at: Self.tss + 32)
        try put(Self.interruptStackTop >> 32, at: Self.tss + 40)
        let handler = TestMemory.handler
        let low = (handler & 0xFFFF) | 8 << 16 | stackIndex << 32 | 0x8E << 40
        try put(low | (handler >> 16 & 0xFFFF) << 48, at: Self.idt + vector * 16)
        try put(handler >> 32, at: Self.idt + vector * 16 + 8)

        var system = try vcpu.readState().system
        system.gdt = DescriptorTable(base: Self.gdt, limit: 0x17)
        system.idt = DescriptorTable(base: Self.idt, limit: 0xFFF)
        system.tr.base = Self.tss
        system.tr.limit = 0x67
        system.cs.selector = 8
        system.ss = Segment(limit: 0xFFFF, selector: 16, attributes: 0x93)
        try vcpu.write(system)
    }

    private func put(_ word: UInt64, at address: UInt64) throws {
        guard memory.writeUInt64(word, at: .init(address)) else {
            throw ConformanceFailure(description: "no memory at \(hex(address))")
        }
    }
}
