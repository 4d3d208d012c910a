import CLinux
import GuestModel
import Hypervisor

/// `struct kvm_xsave` is an XSAVE area in the standard form.
extension kvm_xsave {
    /// The state after a reset.
    static var reset: kvm_xsave {
        var xsave = kvm_xsave()
        // Every CPU with virtualisation has all bits of MXCSR; the guest's first run makes it exact.
        xsave.withArea { $0.reset(mask: 0xFFFF) }
        return xsave
    }

    /// What it holds in our words; the upper halves only of a guest that has AVX on.
    func state(hasAVX: Bool, kernelGSBase: UInt64?) -> ExtendedState? {
        var copy = self
        return copy.withArea { $0.state(hasAVX: hasAVX, kernelGSBase: kernelGSBase) }
    }

    /// Replaces x87 and SSE, and AVX when it is given; other components stay.
    mutating func replace(by state: ExtendedState) {
        withArea { $0.replace(by: state) }
    }

    private mutating func withArea<Result>(_ body: (XSaveArea) -> Result) -> Result {
        // SAFETY: 4096 bytes, used during the call only.
        unsafe withUnsafeMutableBytes(of: &self) { unsafe body(XSaveArea($0)) }
    }
}

extension kvm_xcrs {
    /// XCR0, or nil for a CPU that has none.
    var xcr0: UInt64? {
        // SAFETY: a C array of sixteen entries in Swift's form, a tuple.
        unsafe withUnsafeBytes(of: xcrs) { bytes in
            unsafe bytes.bindMemory(to: kvm_xcr.self).prefix(Int(nr_xcrs)).first { $0.xcr == 0 }?
                .value
        }
    }
}

/// `struct kvm_msrs` with one entry.
///
/// - Source: Linux `api.rst`, "KVM_GET_MSRS".
struct KVMModelSpecificRegister {
    /// The number of entries and 32 bits of padding.
    private var count: UInt64 = 1
    /// The register's number and 32 bits of padding.
    private var index: UInt64
    var value: UInt64

    /// - Source: Intel SDM volume 4, "IA32_KERNEL_GS_BASE".
    static func kernelGSBase(_ value: UInt64 = 0) -> KVMModelSpecificRegister {
        KVMModelSpecificRegister(index: 0xC000_0102, value: value)
    }

    private init(index: UInt64, value: UInt64) {
        self.index = index
        self.value = value
    }
}
