/// How a guest handles one exception: a 64-bit interrupt or trap gate of its IDT.
///
/// The table is the guest's: all of it can be any number.
///
/// - Source: Intel SDM volume 3, "64-Bit Mode IDT", "64-Bit Mode Stack Frame" and "Interrupt Stack
///   Table".
package struct InterruptGate: Hashable, Sendable {
    package let handler: GuestVirtualAddress
    /// The entry of the interrupt stack table, 1...7, or 0 for the stack in use.
    package let stackIndex: UInt64

    /// Nil when there is no such gate.
    package init?(vector: UInt8, system: SystemRegisters, memory: some PhysicalMemory) {
        let offset = UInt64(vector) * 16
        guard offset + 15 <= UInt64(system.idt.limit) else { return nil }
        func word(_ index: UInt64) -> UInt64? {
            let address = GuestVirtualAddress(system.idt.base &+ offset &+ 8 * index)
            return readVirtualUInt64(at: address, system: system, memory: memory)
        }
        guard let low = word(0), let high = word(1) else { return nil }
        let isPresent = low >> 47 & 1 == 1
        let type = low >> 40 & 0x1F
        guard isPresent, type == 0xE || type == 0xF else { return nil }
        handler = GuestVirtualAddress((low & 0xFFFF) | (low >> 32 & 0xFFFF_0000) | high << 32)
        stackIndex = low >> 32 & 7
    }

    /// Where the CPU pushes the error code, and above it RIP, CS, RFLAGS, RSP and SS, when code of the
    /// same ring with this stack pointer is interrupted; nil when the interrupt stack is not to be read.
    package func frame(
        interrupting stackPointer: UInt64, system: SystemRegisters, memory: some PhysicalMemory
    ) -> GuestVirtualAddress? {
        var top = stackPointer
        if stackIndex > 0 {
            let entry = GuestVirtualAddress(system.tr.base &+ 0x24 &+ 8 * (stackIndex - 1))
            guard let stack = Self.unalignedWord(at: entry, system: system, memory: memory) else {
                return nil
            }
            top = stack
        }
        return GuestVirtualAddress((top & ~15) &- 6 * 8)
    }

    /// The stack table lies where its words may cross pages.
    private static func unalignedWord(
        at address: GuestVirtualAddress, system: SystemRegisters, memory: some PhysicalMemory
    ) -> UInt64? {
        var bytes: [UInt8] = []
        guard let range = GuestVirtualRange(start: address, byteCount: 8),
            readVirtual(range, system: system, memory: memory, appendingTo: &bytes) == 8
        else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
