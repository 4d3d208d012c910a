import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// What every worker does beside the common list: debug connections, the kick, the timer.
    static func worker(_ processID: Int32) -> [AllowedCall] {
        [
            accept(on: ChildDescriptor.Worker.debugListener),
            AllowedCall("getsockopt", .int(1, SOL_SOCKET), .int(2, SO_PEERCRED)),
            AllowedCall("fcntl", .int(1, F_GETFL)),
            AllowedCall(
                "fcntl", .int(1, F_SETFL),
                .flags(2, required: 0, optional: O_RDWR | O_NONBLOCK | O_ASYNC)),
            // Signals of input go to this process and to no other.
            AllowedCall("fcntl", .int(1, F_SETOWN), .int(2, processID)),
            AllowedCall("setitimer", .int(0, Int32(ITIMER_REAL.rawValue))),
        ]
    }

    /// The requests of a running guest, and its memory: sizes are known only after the image was read.
    static var kvm: [AllowedCall] {
        kvmRequests.map { AllowedCall("ioctl", .request(1, $0)) }
    }

    /// - Source: Linux `Documentation/virt/kvm/api.rst`, one section a request.
    private static let kvmRequests: [UInt32] = [
        0xae80,  // KVM_RUN
        0x8090_ae81, 0x4090_ae82,  // KVM_GET_REGS, KVM_SET_REGS
        0x8138_ae83, 0x4138_ae84,  // KVM_GET_SREGS, KVM_SET_SREGS
        0xc008_ae88, 0x4008_ae89,  // KVM_GET_MSRS, KVM_SET_MSRS
        0x81a0_ae8c, 0x41a0_ae8d,  // KVM_GET_FPU, KVM_SET_FPU
        0x9000_aea4, 0x5000_aea5,  // KVM_GET_XSAVE, KVM_SET_XSAVE
        0x8188_aea6, 0x4188_aea7,  // KVM_GET_XCRS, KVM_SET_XCRS
        0x8080_aea1, 0x4080_aea2,  // KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS
        0x8040_ae9f, 0x4040_aea0,  // KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS
        0x4048_ae9b,  // KVM_SET_GUEST_DEBUG
        0x4020_ae46,  // KVM_SET_USER_MEMORY_REGION
    ]
}
