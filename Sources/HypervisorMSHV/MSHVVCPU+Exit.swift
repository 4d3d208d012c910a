import GuestModel
import Hypervisor

extension MSHVVCPU {
    /// What `message` means in our words; nil for an exception that the guest gets back.
    func exit(_ message: InterceptMessage, isStepping: Bool) throws(HypervisorError) -> VMExit? {
        switch message {
        case .port(let access): return exit(access)
        case .memory(let address, let access): return .memory(address, access)
        case .fetch(let rip): return .fetchUnmapped(GuestVirtualAddress(rip))
        case .halt:
            try finishHalt()
            return .halted
        case .exception(let exception):
            switch exception.vector {
            case UInt16(DebugInterception.debugVector):
                return try debugException(exception, isStepping: isStepping)
            case UInt16(DebugInterception.breakpointVector):
                return try breakpointException(exception)
            case let vector: return .failed("exception \(vector) was intercepted by mistake")
            }
        case .unrecoverableException: return .shutdown
        case .invalidRegister: return .failed("the hypervisor refused a register's value")
        case .unsupportedFeature(let feature, let parameter):
            return .failed(
                "the guest used what the hypervisor does not have: feature \(feature), "
                    + "0x\(String(parameter, radix: 16))")
        }
    }

    /// The guest stands at the instruction; this driver moves it on.
    private func exit(_ access: PortIntercept) -> VMExit {
        guard let output = access.output else { return .portUnsupported(port: access.port) }
        moveRIP(to: access.rip &+ access.instructionLength)
        return .portWrite(port: access.port, size: output.size, value: output.value)
    }

    // MARK: HLT

    private static let halt: UInt8 = 0xF4

    /// Moves RIP behind the HLT where the hypervisor leaves it at it.
    ///
    /// Nothing says which of the two it does. The bytes at RIP and before it tell, unless both are
    /// HLT: then what was seen earlier counts, and without that RIP stays.
    private func finishHalt() throws(HypervisorError) {
        try loadGeneral()
        let rip = general.rip
        let isAtOne = try byte(at: rip) == Self.halt
        let isBehindOne = try byte(at: rip &- 1) == Self.halt
        if isAtOne != isBehindOne { isRIPBehindHalts = isBehindOne }
        if isAtOne, isRIPBehindHalts == false { moveRIP(to: rip &+ 1) }
    }

    private func byte(at address: UInt64) throws(HypervisorError) -> UInt8? {
        let place = PageWalk.translate(
            GuestVirtualAddress(address), system: try readSystem(), memory: memory)
        return place.flatMap { memory.readUInt8(at: $0.physicalAddress) }
    }

    // MARK: Exceptions

    private static let singleStep: UInt64 = 1 << 14
    /// Which debug register, or a step.
    private static let conditions: UInt64 = 0b1111 | singleStep
    private static let resumeFlag: UInt64 = 1 << 16

    private func debugException(
        _ exception: ExceptionIntercept, isStepping: Bool
    ) throws(HypervisorError) -> VMExit? {
        var conditions = try read([.dr6])[0].low
        lastDebugConditions = (conditions, exception.parameter)
        // DR6 changes when the exception is delivered, and this one has not been: should the
        // hypervisor leave it at that, the message has what would be put there.
        if conditions & Self.conditions == 0 { conditions |= exception.parameter & Self.conditions }
        let meaning = DebugExit(
            dr6: conditions, at: GuestVirtualAddress(exception.rip), registers: debugRegisters,
            isStepping: isStepping)
        guard meaning != .guest else {
            try giveBack(exception, parameter: conditions)
            return nil
        }
        try forgetCondition(conditions)
        try loadGeneral()
        setFlags(general.rflags & ~Self.resumeFlag)
        return .debug(meaning)
    }

    /// Nothing but a write takes a condition out of DR6.
    ///
    /// Of a guest that has its debug registers to itself the others stay.
    private func forgetCondition(_ conditions: UInt64) throws(HypervisorError) {
        let left =
            interception.ownsRegisters
            ? DebugRegisterImage.noCondition : conditions & ~Self.singleStep
        try write([(.dr6, RegisterValue(left))])
    }

    private func breakpointException(
        _ exception: ExceptionIntercept
    ) throws(HypervisorError) -> VMExit? {
        let here = GuestVirtualAddress(exception.rip)
        guard !breakpoints.catchesBreakpointInstruction, !softwareBreakpoints.contains(here) else {
            return .debug(.softwareBreakpoint(here))
        }
        // A trap, which leaves RIP behind its instruction.
        moveRIP(to: exception.rip &+ max(1, exception.instructionLength))
        try giveBack(exception, parameter: 0)
        return nil
    }

    private func giveBack(
        _ exception: ExceptionIntercept, parameter: UInt64
    ) throws(HypervisorError) {
        let vector = UInt8(truncatingIfNeeded: exception.vector)
        try write([(.pendingEvent, .pendingException(vector: vector, parameter: parameter))])
    }
}
