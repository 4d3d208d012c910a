import CLinux
import Hypervisor
import LinuxSystem

/// One request of the MSHV interface; the raw value is the second argument of ioctl.
///
/// - Source: Linux `include/uapi/linux/mshv.h`.
package enum MSHVRequest: UInt, CaseIterable, Sendable {
    // Of the device
    case createPartition = 0x4010_B800
    // Of a partition
    case initializePartition = 0x0000_B800
    case createVP = 0x4004_B801
    case setGuestMemory = 0x4020_B802
    // Of a partition or a virtual processor
    case rootHypercall = 0xC020_B807
    // Of a virtual processor
    case runVP = 0x8100_B800
    case getVPState = 0xC010_B801
    case setVPState = 0xC010_B802

    /// The name in `<linux/mshv.h>`.
    package var name: String {
        switch self {
        case .createPartition: "MSHV_CREATE_PARTITION"
        case .initializePartition: "MSHV_INITIALIZE_PARTITION"
        case .createVP: "MSHV_CREATE_VP"
        case .setGuestMemory: "MSHV_SET_GUEST_MEMORY"
        case .rootHypercall: "MSHV_ROOT_HVCALL"
        case .runVP: "MSHV_RUN_VP"
        case .getVPState: "MSHV_GET_VP_STATE"
        case .setVPState: "MSHV_SET_VP_STATE"
        }
    }
}

extension OwnedDescriptor {
    /// The result of a request without an argument.
    @discardableResult
    borrowing func mshv(_ request: MSHVRequest) throws(HypervisorError) -> Int32 {
        let result = clinux_ioctl_value(rawValue, request.rawValue, 0)
        guard result >= 0 else { throw .call(request.name, errno: -result) }
        return result
    }

    /// The result of a request whose argument is the structure that the request says.
    @discardableResult
    borrowing func mshv(
        _ request: MSHVRequest, _ structure: inout [UInt8]
    ) throws(HypervisorError) -> Int32 {
        let result = callMSHV(request, &structure)
        guard result >= 0 else { throw .call(request.name, errno: -result) }
        return result
    }

    /// As `mshv`; -errno is left to the caller.
    borrowing func callMSHV(_ request: MSHVRequest, _ structure: inout [UInt8]) -> Int32 {
        // SAFETY: every caller passes the structure that belongs to the request, with pointers to
        // memory that outlives the call; the kernel uses them during the call only.
        unsafe structure.withUnsafeMutableBytes { bytes in
            unsafe clinux_ioctl(rawValue, request.rawValue, bytes.baseAddress)
        }
    }
}
