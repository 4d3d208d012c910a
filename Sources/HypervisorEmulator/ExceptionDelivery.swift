import CUnicorn
import GuestModel
import Hypervisor

/// An exception or software interrupt on its way to the guest's handler.
struct GuestException {
    var vector: UInt8
    /// Pushed only for the vectors that have one.
    var errorCode: UInt32 = 0
    /// Made by an INT instruction: RIP is behind it and there is no error code.
    var isSoftware = false

    static let doubleFault: UInt8 = 8
    static let generalProtection: UInt8 = 13
    static let pageFault: UInt8 = 14

    var pushesErrorCode: Bool {
        switch vector {
        case 8, 10, 11, 12, 13, 14, 17, 21: !isSoftware
        default: false
        }
    }

    /// What a fault while delivering this one makes of it, or nil for a triple fault.
    ///
    /// - Source: Intel SDM volume 3, "Interrupt 8: Double Fault Exception".
    func interrupted(by next: GuestException) -> GuestException? {
        func isContributory(_ vector: UInt8) -> Bool {
            switch vector {
            case 0, 10, 11, 12, 13: true
            default: false
            }
        }
        if vector == Self.doubleFault { return nil }
        let isDouble =
            isSoftware
            ? false
            : (isContributory(vector) && isContributory(next.vector))
                || (vector == Self.pageFault
                    && (isContributory(next.vector) || next.vector == Self.pageFault))
        return isDouble ? GuestException(vector: Self.doubleFault) : next
    }
}

/// The library raises exceptions and leaves their delivery to us.
///
/// - Source: Intel SDM volume 3, "Exception and Interrupt Handling in 64-bit Mode".
extension EmulatorVCPU {
    /// Puts the vCPU in front of the guest's handler; false is a triple fault.
    func deliver(_ first: GuestException) throws(HypervisorError) -> Bool {
        var exception = first
        // Benign, contributory, page fault, double fault: never more than a few rounds.
        for _ in 0..<8 {
            switch try attempt(exception) {
            case .delivered: return true
            case .fault(let next):
                guard let combined = exception.interrupted(by: next) else { return false }
                exception = combined
            }
        }
        return false
    }

    private enum Attempt {
        case delivered
        case fault(GuestException)
    }

    private func attempt(_ exception: GuestException) throws(HypervisorError) -> Attempt {
        let control = try engine.control
        let view = GuestView(memory, control: control)
        var segments = try engine.segments
        var registers = try engine.general

        let system = SystemRegisters(control: control, segments: segments)
        let gateError = UInt32(exception.vector) << 3 | 2
        guard
            let gate = InterruptGate(vector: exception.vector, system: system, memory: memory),
            let code = codeSegment(
                gate.selector, table: segments[SegmentIndex.gdt.rawValue], view: view)
        else {
            return .fault(
                GuestException(vector: GuestException.generalProtection, errorCode: gateError))
        }

        guard
            var stack = gate.stackTop(
                interrupting: registers.rsp, system: system, memory: memory)
        else { return .fault(GuestException(vector: GuestException.generalProtection)) }
        var words: [UInt64] = [
            UInt64(segments[SegmentIndex.ss.rawValue].selector), registers.rsp, registers.rflags,
            UInt64(segments[SegmentIndex.cs.rawValue].selector), registers.rip,
        ]
        if exception.pushesErrorCode { words.append(UInt64(exception.errorCode)) }
        for word in words {
            stack &-= 8
            guard push(word, at: stack, view: view, isProtected: control.cr0 & 0x1_0000 != 0) else {
                return try .fault(stackFault(at: stack, view: view))
            }
        }

        registers.rsp = stack
        registers.rip = gate.handler.rawValue
        // TF, NT, RF, VM always; IF for an interrupt gate.
        registers.rflags &= ~(0x100 | 0x4000 | 0x1_0000 | 0x2_0000)
        if gate.clearsInterruptFlag { registers.rflags &= ~0x200 }
        segments[SegmentIndex.cs.rawValue] = code
        try engine.setSegments(segments)
        try engine.setGeneral(registers)
        watchedMemory.noteUse(at: stack, byteCount: UInt64(8 * words.count), isWrite: true)
        return .delivered
    }

    private func push(_ word: UInt64, at address: UInt64, view: GuestView, isProtected: Bool)
        -> Bool
    {
        guard let place = view.translation(of: address), place.isWritable || !isProtected,
            memory.isGuestWritable(place.physicalAddress) == true
        else { return false }
        // The stack pointer is a multiple of eight, so a word never crosses a page.
        return memory.writeUInt64(word, at: place.physicalAddress)
    }

    private func stackFault(
        at address: UInt64, view: GuestView
    ) throws(HypervisorError) -> GuestException {
        var control = try engine.control
        control.cr2 = address
        try engine.setControl(control)
        let isPresent = view.translation(of: address) != nil
        return GuestException(
            vector: GuestException.pageFault, errorCode: isPresent ? 0x3 : 0x2)
    }

    /// The code segment of a 64-bit ring 0 handler.
    private func codeSegment(
        _ selector: UInt16, table: cunicorn_segment, view: GuestView
    ) -> cunicorn_segment? {
        let offset = UInt64(selector & 0xFFF8)
        guard selector & 0xFFF8 != 0, selector & 4 == 0, offset + 7 <= UInt64(table.limit),
            let descriptor = view.word(at: table.base &+ offset)
        else { return nil }
        let high = UInt32(truncatingIfNeeded: descriptor >> 32)
        // Present, DPL 0, S, code, L and not D.
        guard high & 0xF800 == 0x9800, high & 0x60_0000 == 0x20_0000 else { return nil }
        return cunicorn_segment(
            selector: UInt32(selector & 0xFFFC), limit: 0xFFFF_FFFF,
            flags: high & 0x00FF_FF00, base: 0)
    }
}
