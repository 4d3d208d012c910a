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

    /// At most four hardware breakpoints; the caller has checked.
    init(_ breakpoints: Breakpoints, mode: RunMode) {
        if mode == .step { control |= UInt32(KVM_GUESTDBG_SINGLESTEP) }
        if !breakpoints.software.isEmpty || breakpoints.catchesBreakpointInstruction {
            control |= UInt32(KVM_GUESTDBG_USE_SW_BP)
        }
        for (index, address) in breakpoints.hardware.prefix(hardwareBreakpointsMax).enumerated() {
            arm(index, at: address.rawValue, condition: 0)
        }
        if control != 0 { control |= UInt32(KVM_GUESTDBG_ENABLE) }
    }

    /// A watchpoint on writes to the eight bytes at `address`, which only the probe uses.
    init(watchingWritesTo address: UInt64) {
        arm(0, at: address, condition: 0b1001)
        control |= UInt32(KVM_GUESTDBG_ENABLE)
    }

    var isStepping: Bool { control & UInt32(KVM_GUESTDBG_SINGLESTEP) != 0 }

    /// Arms DR`index`; `condition` is as DR7 has it, LEN in bits 2-3 and R/W in bits 0-1.
    private mutating func arm(_ index: Int, at address: UInt64, condition: UInt64) {
        control |= UInt32(KVM_GUESTDBG_USE_HW_BP)
        addresses[index] = address
        // Bit 10 of DR7 is always one.
        dr7 |= 1 << 10 | 1 << (2 * index) | condition << (16 + 4 * index)
    }

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
