import CLinux
import Hypervisor
import LinuxSystem

/// One request of the KVM interface; the raw value is its name in `<linux/kvm.h>`.
///
/// - Source: Linux `Documentation/virt/kvm/api.rst`.
package enum KVMRequest: String, CaseIterable, Sendable {
    case getAPIVersion = "KVM_GET_API_VERSION"
    case createVM = "KVM_CREATE_VM"
    case checkExtension = "KVM_CHECK_EXTENSION"
    case getVCPUMappingSize = "KVM_GET_VCPU_MMAP_SIZE"
    case getSupportedCPUID = "KVM_GET_SUPPORTED_CPUID"
    case setUserMemoryRegion = "KVM_SET_USER_MEMORY_REGION"
    case createVCPU = "KVM_CREATE_VCPU"
    case setMSRFilter = "KVM_X86_SET_MSR_FILTER"
    case run = "KVM_RUN"
    case getRegisters = "KVM_GET_REGS"
    case setRegisters = "KVM_SET_REGS"
    case getSystemRegisters = "KVM_GET_SREGS"
    case setSystemRegisters = "KVM_SET_SREGS"
    case setCPUID = "KVM_SET_CPUID2"
    case setGuestDebug = "KVM_SET_GUEST_DEBUG"
    case getXSave = "KVM_GET_XSAVE"
    case setXSave = "KVM_SET_XSAVE"
    case getExtendedControl = "KVM_GET_XCRS"
    case getModelSpecific = "KVM_GET_MSRS"
    case setModelSpecific = "KVM_SET_MSRS"

    /// What a machine's `init` needs, so a worker before its lockdown.
    package static let creating: [KVMRequest] = [
        .getAPIVersion, .createVM, .checkExtension, .getVCPUMappingSize, .getSupportedCPUID,
        .createVCPU, .setMSRFilter, .setCPUID, .getRegisters, .getSystemRegisters, .setXSave,
    ]

    /// What a machine needs afterwards: memory, running, registers, debugging.
    package static let running: [KVMRequest] = [
        .setUserMemoryRegion, .run, .getRegisters, .setRegisters, .getSystemRegisters,
        .setSystemRegisters, .setGuestDebug, .getXSave, .setXSave, .getExtendedControl,
        .getModelSpecific, .setModelSpecific,
    ]

    /// The second argument of ioctl.
    package var code: UInt {
        let request =
            switch self {
            case .getAPIVersion: CLINUX_KVM_GET_API_VERSION
            case .createVM: CLINUX_KVM_CREATE_VM
            case .checkExtension: CLINUX_KVM_CHECK_EXTENSION
            case .getVCPUMappingSize: CLINUX_KVM_GET_VCPU_MMAP_SIZE
            case .getSupportedCPUID: CLINUX_KVM_GET_SUPPORTED_CPUID
            case .setUserMemoryRegion: CLINUX_KVM_SET_USER_MEMORY_REGION
            case .createVCPU: CLINUX_KVM_CREATE_VCPU
            case .setMSRFilter: CLINUX_KVM_X86_SET_MSR_FILTER
            case .run: CLINUX_KVM_RUN
            case .getRegisters: CLINUX_KVM_GET_REGS
            case .setRegisters: CLINUX_KVM_SET_REGS
            case .getSystemRegisters: CLINUX_KVM_GET_SREGS
            case .setSystemRegisters: CLINUX_KVM_SET_SREGS
            case .setCPUID: CLINUX_KVM_SET_CPUID2
            case .setGuestDebug: CLINUX_KVM_SET_GUEST_DEBUG
            case .getXSave: CLINUX_KVM_GET_XSAVE
            case .setXSave: CLINUX_KVM_SET_XSAVE
            case .getExtendedControl: CLINUX_KVM_GET_XCRS
            case .getModelSpecific: CLINUX_KVM_GET_MSRS
            case .setModelSpecific: CLINUX_KVM_SET_MSRS
            }
        return request.rawValue
    }
}

extension OwnedDescriptor {
    /// The result of a request whose argument is a number.
    @discardableResult
    borrowing func kvm(_ request: KVMRequest, _ value: UInt = 0) throws(HypervisorError) -> Int32 {
        try checkedKVM(clinux_ioctl_value(rawValue, request.code, value), request)
    }

    /// The result of a request whose argument points to what the request says.
    @discardableResult
    borrowing func kvm(
        _ request: KVMRequest, _ argument: UnsafeMutableRawPointer
    ) throws(HypervisorError) -> Int32 {
        // SAFETY: every caller passes the structure that belongs to the request; the kernel uses it
        // during the call only.
        try checkedKVM(unsafe clinux_ioctl(rawValue, request.code, argument), request)
    }

    /// The result of a request that reads or changes one structure.
    @discardableResult
    borrowing func kvm<Structure>(
        _ request: KVMRequest, _ structure: inout Structure
    ) throws(HypervisorError) -> Int32 {
        let result = unsafe withUnsafeMutablePointer(to: &structure) {
            unsafe clinux_ioctl(rawValue, request.code, UnsafeMutableRawPointer($0))
        }
        return try checkedKVM(result, request)
    }
}

/// `result` when it is not negative; the error it stands for otherwise.
@discardableResult
func checkedKVM(_ result: Int32, _ request: KVMRequest) throws(HypervisorError) -> Int32 {
    guard result >= 0 else { throw .call(request.rawValue, errno: -result) }
    return result
}
