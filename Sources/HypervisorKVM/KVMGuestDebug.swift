import CLinux
import GuestModel
import Hypervisor

/// What KVM intercepts for a debugger: the argument of KVM_SET_GUEST_DEBUG as a value.
///
/// KVM cannot be asked for it, so the driver keeps the last one it set and compares.
/// - Source: Linux `api.rst`, "KVM_SET_GUEST_DEBUG"; Intel SDM volume 3, "Debug Registers".
struct KVMGuestDebug: Hashable {
    private(set) var control: UInt32 = 0
    /// DR0...DR3; unused ones are zero.
    private var addresses: [UInt64] = [0, 0, 0, 0]
    private var dr7: UInt64 = 0

    /// Nothing intercepted, as a new vCPU has it.
    static let off = KVMGuestDebug()

    private init() {}

    /// Intercepts `registers`, at most four; the caller has checked.
    init(_ breakpoints: Breakpoints, registers: [DebugRegister], mode: RunMode) {
        if mode == .step { control |= UInt32(KVM_GUESTDBG_SINGLESTEP) }
        if !breakpoints.software.isEmpty || breakpoints.catchesBreakpointInstruction {
            control |= UInt32(KVM_GUESTDBG_USE_SW_BP)
        }
        for (index, register) in registers.enumerated() {
            addresses[index] = register.address.rawValue
        }
        if !registers.isEmpty {
            control |= UInt32(KVM_GUESTDBG_USE_HW_BP)
            dr7 = registers.control
        }
        if control != 0 { control |= UInt32(KVM_GUESTDBG_ENABLE) }
    }

    var isStepping: Bool { control & UInt32(KVM_GUESTDBG_SINGLESTEP) != 0 }

    /// The structure the kernel wants.
    var argument: kvm_guest_debug {
        var argument = kvm_guest_debug()
        argument.control = control
        let registers = addresses
        argument.arch.debugreg = (
            registers[0], registers[1], registers[2], registers[3], 0, 0, 0, dr7
        )
        return argument
    }
}
