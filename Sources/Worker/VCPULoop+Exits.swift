import GuestABI
import GuestModel
import Hypervisor
import WireProtocol

// Why the guest came back, and what follows from it.
extension VCPULoop {
    func handle(_ exit: VMExit) throws(HypervisorError) -> RunOutcome {
        switch exit {
        case .interrupted: return .interrupted
        case .debug(.step): try refresh()
        case .portWrite(let port, let size, let value):
            try handlePort(port, size: size, value: value)
        case .halted:
            try refresh()
            guestHalted()
        case .debug(.hardwareBreakpoint(let address)):
            try stopAfterRefresh(
                .breakpoint(breakpoints.kind(at: address, in: guest) ?? .hardware, address))
        case .debug(.softwareBreakpoint(let address)): try breakpointInstruction(at: address)
        case .debug(.watchpoint(let kind, let address)):
            try stopAfterRefresh(.watchpoint(kind, address))
        case .debug(.guest): try stopAfterRefresh(.guestTrap)
        case .portUnsupported(let port): try crashAfterRefresh(.unexpectedPort(port))
        case .memory(let address, let access):
            try crashAfterRefresh(.unmappedAccess(address, access))
        case .fetchUnmapped(let address): try crashAfterRefresh(.unmappedFetch(address))
        case .shutdown: try crashAfterRefresh(.tripleFault)
        case .unsupportedInstruction(let bytes):
            try crashAfterRefresh(.unsupportedInstruction(bytes: bytes))
        case .failed(let text): try crashAfterRefresh(.driverFailure(text))
        }
        return .handled
    }

    /// Reads the registers after the guest has run; of a step nothing stays behind in its memory.
    func refresh() throws(HypervisorError) {
        let before = guest.state
        try guest.refreshState()
        exits.note(rip: rip)
        if runMode == .step { clearPushedTrapFlag(since: before) }
    }

    private func handlePort(_ port: UInt16, size: UInt8, value: UInt32) throws(HypervisorError) {
        let effect = ports.handle(port: port, size: size, value: value, memory: guest.memory)
        switch effect {
        case .none: break
        case .output(let text): supervisor.send(.output(text))
        case .log(let level, let text): supervisor.send(.log(level, text))
        case .halt:
            try refresh()
            return guestHalted()
        case .exceptionBegins:
            try refresh()
            // At once: the handler and whatever runs after it may use that memory again.
            exceptionFrame = ExceptionFrame(in: guest.state, memory: guest.memory)
        case .abort(let abort):
            try refresh()
            return aborted(abort)
        case .crash(let crash): return try crashAfterRefresh(crash)
        }
        // A step ends here: the OUT was its one instruction.
        if runMode == .step { try refresh() }
    }

    /// The guest said that it is done: for good, or with its initialisation.
    func guestHalted() {
        switch settings.abi {
        case .bare: activity = .ended(.finished)
        case .hyperlight:
            flushOutput()
            ports.forgetAbort()
            exceptionFrame = nil
            guard guest.state.general.rsp % 16 == 0 else {
                return crash(.protocolViolation("stack pointer not a multiple of 16 when ready"))
            }
            activity = settings.endsWhenReady ? .ended(.finished) : .ready
            reportState(now: true)
        }
    }

    func isHalt(at address: GuestVirtualAddress) -> Bool {
        guard let translation = guest.translation(of: address), translation.isExecutable,
            let byte = guest.memory.readUInt8(at: translation.physicalAddress)
        else { return false }
        return breakpoints.original(of: byte, at: translation.physicalAddress) == 0xF4
    }

    // MARK: Stopping

    private func stopAfterRefresh(
        _ reason: @autoclosure () -> StopReason
    ) throws(HypervisorError) {
        try refresh()
        guard isClientAttached else {
            // Nobody set a breakpoint, so the trap is the guest's own, and it has nobody to catch it.
            return crash(.protocolViolation("debug trap without a debugger"))
        }
        stop(reason())
    }

    /// The guest executed an `int3`: one of the client's breakpoints, or one of its own.
    ///
    /// Of one of its own the client sees RIP behind it, as after any trap, so that continuing goes on.
    private func breakpointInstruction(at address: GuestVirtualAddress) throws(HypervisorError) {
        // For a step from there the client's is taken out, so this is the guest's, under it.
        let isSteppedOver = runMode == .step && address == rip
        try refresh()
        guard isClientAttached else {
            return crash(.protocolViolation("int3 without a debugger"))
        }
        if !isSteppedOver, breakpoints.kind(at: address, in: guest) == .software {
            return stop(.softwareBreakpoint(address))
        }
        var registers = guest.state.general
        registers.rip = address.rawValue &+ 1
        try guest.write(registers)
        stop(.guestTrap)
    }

    /// The guest has reported why it gives up, in words of its own.
    private func aborted(_ abort: GuestAbort) {
        guard let vector = abort.vector, let frame = exceptionFrame else {
            return crash(.aborted(code: abort.code, text: abort.text))
        }
        exceptionFrame = nil
        log(
            .error,
            "the guest reports: " + abort.text.split(separator: "\n").joined(separator: "; "))
        crash(.exception(frame.exception(vector: vector)), vcpu: .reporting(frame))
    }

    private func crashAfterRefresh(_ reason: GuestCrash) throws(HypervisorError) {
        try refresh()
        if reason == .tripleFault { log(.error, TripleFaultText(guest).text) }
        crash(reason)
    }

    func crash(_ error: HypervisorError) {
        crash(.driverFailure("\(error)"))
    }

    /// The guest cannot go on: what becomes of it is `debug.onCrash`.
    func crash(_ reason: GuestCrash, vcpu: VCPUWork = .executing) {
        flushOutput()
        switch settings.onCrash {
        case .hold where isClientAttached, .wait:
            stop(.crashed(reason), vcpu: vcpu)
            reportState(now: true)
        case .hold, .end: activity = .ended(.crashed(reason))
        }
    }

    /// Stands still and tells the client.
    func stop(_ reason: StopReason, vcpu: VCPUWork = .executing) {
        activity = .stopped(reason, vcpu: vcpu)
        breakpoints.follow(in: guest)
        guard isClientAttached else { return }
        send(.stopped(stopEvent(reason)))
    }
}
