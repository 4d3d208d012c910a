import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// What every worker does beside the common list: debug connections, the kick, the timer.
    static func worker(_ processID: Int32) -> [CallRule] {
        [
            accept(on: ChildDescriptor.Worker.debugListener),
            CallRule("getsockopt", .int(1, SOL_SOCKET), .int(2, SO_PEERCRED)),
            CallRule(
                "fcntl", .int(1, F_SETFL),
                .flags(2, required: 0, optional: O_NONBLOCK | O_ASYNC)),
            // Signals of input go to this process and to no other.
            CallRule("fcntl", .int(1, F_SETOWN), .int(2, processID)),
            CallRule("setitimer", .int(0, Int32(ITIMER_REAL.rawValue))),
            // The end of the kick's handler.
            CallRule("rt_sigreturn"),
        ]
    }

    /// A guest that is started anew gives its pages back, where no hypervisor pins them; no other
    /// advice.
    static var givingPagesBack: [CallRule] { [CallRule("madvise", .int(2, MADV_DONTNEED))] }

    /// The emulator's library keeps tables that it enlarges with realloc, large ones in their place.
    static var emulator: [CallRule] {
        [CallRule("mremap", .flags(3, required: 0, optional: mayMove))]
    }

    /// MREMAP_MAYMOVE, which Swift's Glibc module lacks.
    private static let mayMove: Int32 = 1

    /// The requests of a running guest, each only on the descriptor it is for.
    ///
    /// Memory is among them: its sizes are known only after the image was read.
    static var kvm: [CallRule] {
        vcpuRequests.map {
            CallRule("ioctl", .int(0, ChildDescriptor.Worker.vcpu), .request(1, $0))
        } + [
            CallRule(
                "ioctl", .int(0, ChildDescriptor.Worker.machine), .request(1, setMemoryRegion))
        ]
    }

    /// - Source: Linux `Documentation/virt/kvm/api.rst`, one section a request.
    private static let vcpuRequests: [UInt32] = [
        0xae80,  // KVM_RUN
        0x8090_ae81, 0x4090_ae82,  // KVM_GET_REGS, KVM_SET_REGS
        0x8138_ae83, 0x4138_ae84,  // KVM_GET_SREGS, KVM_SET_SREGS
        0x9000_aea4, 0x5000_aea5,  // KVM_GET_XSAVE, KVM_SET_XSAVE
        0x8188_aea6,  // KVM_GET_XCRS: whether the guest has AVX on
        0xc008_ae88, 0x4008_ae89,  // KVM_GET_MSRS, KVM_SET_MSRS: the kernel GS base
        0x4048_ae9b,  // KVM_SET_GUEST_DEBUG
    ]

    private static let setMemoryRegion: UInt32 = 0x4020_ae46  // KVM_SET_USER_MEMORY_REGION
}
