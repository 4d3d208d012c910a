/// Where the flags are that a CPU has pushed for the one instruction of a step.
///
/// A step sets the trap flag, so that what is pushed meanwhile has it too, and brings it back when it is
/// popped: a trap in the guest, long after the step.
///
/// - Source: Intel SDM volume 1, "EFLAGS Register"; volume 2, "PUSHF/PUSHFD/PUSHFQ"; volume 3, "64-Bit
///   Mode Stack Frame".
package enum PushedFlags {
    /// The most that one instruction has.
    package static let instructionBytesMax: UInt64 = 15
    /// The bit that a step sets.
    package static let trapFlag: UInt64 = 1 << 8

    /// The place, if there is one, after a step of 64-bit code from `before` that ended at `now`.
    ///
    /// A step may end anywhere in the handler of an exception, as long as that works on the stack that it
    /// began with. Only code of the handler's own ring is looked for. `code` gives the bytes of the
    /// instruction; it is called where that may be one that pushes.
    package static func address(
        since before: VCPUState, now: VCPUState, memory: some PhysicalMemory, code: () -> [UInt8]
    ) -> GuestVirtualAddress? {
        let isNear = now.general.rip &- before.general.rip <= instructionBytesMax
        let pushed = before.general.rsp &- now.general.rsp
        switch pushed {
        // Nearly every step.
        case 0 where isNear: return nil
        case 2 where isNear, 8 where isNear:
            return pushesFlags(code()) ? GuestVirtualAddress(now.general.rsp) : nil
        default: return flagsInFrame(since: before, now: now, memory: memory)
        }
    }

    /// In the words that an exception of the instruction of `before` has pushed.
    private static func flagsInFrame(
        since before: VCPUState, now: VCPUState, memory: some PhysicalMemory
    ) -> GuestVirtualAddress? {
        func word(_ address: UInt64) -> UInt64? {
            readVirtualUInt64(
                at: GuestVirtualAddress(address), system: now.system, memory: memory)
        }
        for stackIndex in UInt64(0)...7 {
            let top = InterruptGate.stackTop(
                stackIndex, interrupting: before.general.rsp, system: now.system, memory: memory)
            guard let frame = top.map({ $0 &- 5 * 8 }),
                frame &- now.general.rsp <= handlerStackBytesMax,
                // A trap leaves RIP behind the instruction.
                let rip = word(frame), rip &- before.general.rip <= instructionBytesMax,
                word(frame &+ 8) == UInt64(before.system.cs.selector),
                let flags = word(frame &+ 16), flags >> 32 == 0, flags & stepFlags == stepFlags,
                word(frame &+ 24) == before.general.rsp,
                word(frame &+ 32) == UInt64(before.system.ss.selector)
            else { continue }
            return GuestVirtualAddress(frame &+ 16)
        }
        return nil
    }

    /// What all flags have that a CPU pushes in a step: the trap flag, and bit 1.
    private static let stepFlags = trapFlag | 2

    /// What a handler may have pushed itself; beyond, it is on another stack.
    private static let handlerStackBytesMax: UInt64 = 1 << 16

    /// Whether this is PUSHF, with whatever in front of it.
    private static func pushesFlags(_ code: [UInt8]) -> Bool {
        let prefixes: Set<UInt8> = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3]
        let rex: ClosedRange<UInt8> = 0x40...0x4F
        return code.first { !prefixes.contains($0) && !rex.contains($0) } == 0x9C
    }
}
