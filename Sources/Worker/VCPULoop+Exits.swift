import GuestModel
import Hypervisor
import WireProtocol

// Why the guest came back, and what follows from it.
extension VCPULoop {
    func handle(_ exit: VMExit) throws(HypervisorError) -> RunOutcome {
        switch exit {
        case .interrupted: return .interrupted
        case .debug(.step): try guest.refreshState()
        case .portWrite(let port, let size, let value):
            try handlePort(port, size: size, value: value)
        case .halted:
            try guest.refreshState()
            guestHalted()
        case .debug(.hardwareBreakpoint(let address)):
            try stopAfterRefresh(.hardwareBreakpoint(address))
        case .debug(.softwareBreakpoint(let address)):
            if breakpoints.kind(at: address) == .software {
                try stopAfterRefresh(.softwareBreakpoint(address))
            } else {
                try trapOfTheGuest(at: address)
            }
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

    private func handlePort(_ port: UInt16, size: UInt8, value: UInt32) throws(HypervisorError) {
        let effect = ports.handle(port: port, size: size, value: value, memory: guest.memory)
        switch effect {
        case .none: break
        case .output(let text): supervisor.send(.output(text))
        case .log(let level, let text): supervisor.send(.log(level, text))
        case .halt:
            try guest.refreshState()
            guestHalted()
            return
        case .crash(let crash):
            try crashAfterRefresh(crash)
            return
        }
        // A step ends here: the OUT was its one instruction.
        if case .running(.free) = activity { return }
        try guest.refreshState()
    }

    /// The guest said that it is done: for good, or with its initialisation.
    func guestHalted() {
        switch settings.abi {
        case .bare: activity = .ended(.finished)
        case .hyperlight:
            flushOutput()
            guard guest.state.general.rsp % 16 == 0 else {
                return crash(.protocolViolation("stack pointer not a multiple of 16 when ready"))
            }
            activity = settings.endsWhenReady ? .ended(.finished) : .ready
            reportState(now: true)
        }
    }

    func isHalt(at address: GuestVirtualAddress) -> Bool {
        guard let place = guest.physicalAddress(of: address), let byte = guest.byte(at: place)
        else {
            return false
        }
        var bytes = [byte]
        breakpoints.hide(in: &bytes, readAt: address)
        return bytes == [0xF4]
    }

    // MARK: Stopping

    private func stopAfterRefresh(_ reason: StopReason) throws(HypervisorError) {
        try guest.refreshState()
        guard isClientAttached else {
            // Nobody set a breakpoint, so the trap is the guest's own, and it has nobody to catch it.
            return crash(.protocolViolation("debug trap without a debugger"))
        }
        stop(reason)
    }

    /// The guest executed an `int3` of its own.
    ///
    /// The client sees RIP behind it, as after any trap, so that continuing goes on.
    private func trapOfTheGuest(at address: GuestVirtualAddress) throws(HypervisorError) {
        try guest.refreshState()
        guard isClientAttached else {
            return crash(.protocolViolation("int3 without a debugger"))
        }
        var registers = guest.state.general
        registers.rip = address.rawValue &+ 1
        try guest.write(registers)
        stop(.guestTrap)
    }

    private func crashAfterRefresh(_ reason: GuestCrash) throws(HypervisorError) {
        try guest.refreshState()
        crash(reason)
    }

    func crash(_ error: HypervisorError) {
        crash(.driverFailure("\(error)"))
    }

    private func crash(_ reason: GuestCrash) {
        flushOutput()
        guard isClientAttached else {
            activity = .ended(.crashed(reason))
            return
        }
        stop(.crashed(reason))
    }

    /// Stands still and tells the client.
    func stop(_ reason: StopReason, vcpu: VCPUWork = .executing) {
        activity = .stopped(reason, vcpu: vcpu)
        guard isClientAttached else { return }
        send(.stopped(stopEvent(reason)))
    }
}
