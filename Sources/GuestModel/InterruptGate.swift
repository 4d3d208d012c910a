/// How a guest handles one exception: a 64-bit interrupt or trap gate of its IDT.
///
/// The table is the guest's: all of it can be any number.
///
/// - Source: Intel SDM volume 3, "64-Bit Mode IDT", "64-Bit Mode Stack Frame" and "Interrupt Stack
///   Table".
package struct InterruptGate: Hashable, Sendable {
    package let handler: GuestVirtualAddress
    /// Of the handler's code segment.
    package let selector: UInt16
    /// The entry of the interrupt stack table, 1...7, or 0 for the stack in use.
    package let stackIndex: UInt64
    /// Interrupts are off in the handler: an interrupt gate, and no trap gate.
    package let clearsInterruptFlag: Bool

    /// Nil when there is no such gate.
    package init?(vector: UInt8, system: SystemRegisters, memory: some PhysicalMemory) {
        let offset = UInt64(vector) * 16
        guard offset + 15 <= UInt64(system.idt.limit) else { return nil }
        func word(_ index: UInt64) -> UInt64? {
            let address = GuestVirtualAddress(system.idt.base &+ offset &+ 8 * index)
            return unalignedWord(at: address, system: system, memory: memory)
        }
        guard let low = word(0), let high = word(1) else { return nil }
        let isPresent = low >> 47 & 1 == 1
        let type = low >> 40 & 0x1F
        guard isPresent, type == 0xE || type == 0xF else { return nil }
        handler = GuestVirtualAddress((low & 0xFFFF) | (low >> 32 & 0xFFFF_0000) | high << 32)
        selector = UInt16(truncatingIfNeeded: low >> 16)
        stackIndex = low >> 32 & 7
        clearsInterruptFlag = type == 0xE
    }

    /// Where the CPU pushes the error code, and above it RIP, CS, RFLAGS, RSP and SS, when code of the
    /// same ring with this stack pointer is interrupted; nil when the interrupt stack is not to be read.
    package func frame(
        interrupting stackPointer: UInt64, system: SystemRegisters, memory: some PhysicalMemory
    ) -> GuestVirtualAddress? {
        let top = stackTop(interrupting: stackPointer, system: system, memory: memory)
        return top.map { GuestVirtualAddress($0 &- 6 * 8) }
    }

    /// Below where the CPU pushes, SS first, when code of the same ring with this stack pointer is
    /// interrupted; nil when the interrupt stack is not to be read.
    package func stackTop(
        interrupting stackPointer: UInt64, system: SystemRegisters, memory: some PhysicalMemory
    ) -> UInt64? {
        Self.stackTop(
            stackIndex, interrupting: stackPointer, system: system, memory: memory)
    }

    /// The same for any gate with this stack index, 0...7.
    static func stackTop(
        _ stackIndex: UInt64, interrupting stackPointer: UInt64, system: SystemRegisters,
        memory: some PhysicalMemory
    ) -> UInt64? {
        guard stackIndex > 0 else { return stackPointer & ~15 }
        let offset = 0x24 + 8 * (stackIndex - 1)
        guard offset + 7 <= UInt64(system.tr.limit) else { return nil }
        let entry = GuestVirtualAddress(system.tr.base &+ offset)
        return unalignedWord(at: entry, system: system, memory: memory).map { $0 & ~15 }
    }
}

/// A guest's tables may lie where their words cross pages.
private func unalignedWord(
    at address: GuestVirtualAddress, system: SystemRegisters, memory: some PhysicalMemory
) -> UInt64? {
    if address.pageOffset <= guestPageBytes - 8 {
        return readVirtualUInt64(at: address, system: system, memory: memory)
    }
    var bytes: [UInt8] = []
    guard let range = GuestVirtualRange(start: address, byteCount: 8),
        readVirtual(range, system: system, memory: memory, appendingTo: &bytes) == 8
    else { return nil }
    return bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
}
