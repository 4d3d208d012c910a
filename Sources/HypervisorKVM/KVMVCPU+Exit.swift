import CLinux
import GuestModel
import Hypervisor

extension KVMVCPU {
    /// The exit that the page describes, in our words.
    ///
    /// - Source: Linux `api.rst`, "The kvm_run structure".
    func currentExit(isStepping: Bool) throws(HypervisorError) -> VMExit {
        switch Int32(bitPattern: page.exitReason) {
        case KVM_EXIT_IO:
            let access = page.portExit
            guard let value = access.value else { return .portUnsupported(port: access.port) }
            return .portWrite(port: access.port, size: access.size, value: value)
        case KVM_EXIT_DEBUG:
            return .debug(
                DebugExit(page.debugExit, registers: debugRegisters, isStepping: isStepping))
        case KVM_EXIT_HLT:
            return .halted
        case KVM_EXIT_MMIO:
            let access = page.memoryExit
            return .memory(.init(access.address), access.isWrite ? .write : .read)
        case KVM_EXIT_SHUTDOWN:
            return .shutdown
        case KVM_EXIT_INTR:
            return .interrupted
        case KVM_EXIT_INTERNAL_ERROR:
            return try internalError()
        case KVM_EXIT_FAIL_ENTRY:
            return .failed("the CPU refused to enter the guest, reason \(page.hardwareFailure)")
        default:
            return .failed("unexpected KVM exit reason \(page.exitReason)")
        }
    }

    /// KVM could not go on: mostly an instruction that it had to emulate and does not know.
    private func internalError() throws(HypervisorError) -> VMExit {
        let suberror = page.internalSuberror
        guard suberror == UInt32(KVM_INTERNAL_ERROR_EMULATION) else {
            return .failed("KVM internal error \(suberror)")
        }
        guard let bytes = page.failedInstruction else { return .unsupportedInstruction(bytes: []) }
        try refresh(.general)
        let here = GuestVirtualAddress(page.rip)
        // A KVM that emulates ring 0 does not know int3 and fails at it.
        return switch bytes.first {
        case nil: .fetchUnmapped(here)
        case 0xCC: .debug(.softwareBreakpoint(here))
        case .some: .unsupportedInstruction(bytes: bytes)
        }
    }
}

extension DebugExit {
    /// What KVM's description of a debug exit means when DR0 to DR3 hold `registers`.
    init(_ debug: kvm_debug_exit_arch, registers: [DebugRegister], isStepping: Bool) {
        let here = GuestVirtualAddress(debug.pc)
        if debug.exception == 3 {
            self = .softwareBreakpoint(here)
        } else {
            self.init(dr6: debug.dr6, at: here, registers: registers, isStepping: isStepping)
        }
    }
}
