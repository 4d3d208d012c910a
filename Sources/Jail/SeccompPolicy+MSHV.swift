import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// The requests of a running guest of the Microsoft hypervisor, each only on the descriptors it is
    /// for, and the timer that repeats a kick.
    ///
    /// Hypercalls are checked by the kernel, which passes on a list of its own. Memory is among the
    /// requests because its sizes are known only after the image was read.
    static var mshv: [CallRule] {
        vpRequests.map {
            CallRule("ioctl", .int(0, ChildDescriptor.Worker.vcpu), .request(1, $0))
        }
            + partitionRequests.map {
                CallRule("ioctl", .int(0, ChildDescriptor.Worker.machine), .request(1, $0))
            }
            // A process that can make no timers has only the one it made before.
            + [CallRule("timer_settime", .int(1, 0), .null(3)), CallRule("timer_delete")] + shim
    }

    /// - Source: Linux `include/uapi/linux/mshv.h`.
    private static let vpRequests: [UInt32] = [
        0x8100_b800,  // MSHV_RUN_VP
        0xc020_b807,  // MSHV_ROOT_HVCALL: registers
        0xc010_b801, 0xc010_b802,  // MSHV_GET_VP_STATE, MSHV_SET_VP_STATE: XSAVE
    ]

    private static let partitionRequests: [UInt32] = [
        0x4020_b802,  // MSHV_SET_GUEST_MEMORY
        0xc020_b807,  // MSHV_ROOT_HVCALL: intercepts
    ]

    /// Nothing, but in a test of a build for debugging; see `MSHVShim`.
    private static var shim: [CallRule] {
        #if DEBUG
            MSHVShim.path == nil ? [] : mshvOverKVM
        #else
            []
        #endif
    }

    #if DEBUG
        /// What the stand-in does for itself when the driver makes a request: the same descriptors are
        /// a machine and a vCPU of KVM then.
        static var mshvOverKVM: [CallRule] {
            kvm
                + moreVCPURequests.map {
                    CallRule("ioctl", .int(0, ChildDescriptor.Worker.vcpu), .request(1, $0))
                }
        }

        private static let moreVCPURequests: [UInt32] = [
            0x8080_aea1, 0x4080_aea2,  // KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS
            0x4188_aea7,  // KVM_SET_XCRS
        ]
    #endif
}
