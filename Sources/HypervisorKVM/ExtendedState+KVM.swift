import CLinux
import GuestModel

/// `struct kvm_xsave` starts with the FXSAVE image; the XSAVE header is behind it, and behind that the
/// upper halves of the YMM registers.
///
/// - Source: Intel SDM volume 1, "XSAVE Area" and "AVX State".
extension kvm_xsave {
    private static let mxcsrOffset = 24
    private static let maskOffset = 28
    private static let headerOffset = 512
    private static let upperYMMOffset = 576

    /// Bits of the header: which components are in use.
    private static let x87AndSSE: UInt64 = 0b011
    private static let avx: UInt64 = 0b100

    /// The state after a reset: FCW 0x37F, MXCSR 0x1F80, everything else zero.
    static var reset: kvm_xsave {
        var xsave = kvm_xsave()
        unsafe xsave.change { bytes in
            unsafe bytes.storeBytes(of: 0x37F, as: UInt16.self)
            unsafe bytes.storeBytes(of: 0x1F80, toByteOffset: Self.mxcsrOffset, as: UInt32.self)
            // Every CPU with virtualisation has all of them; the guest's first run makes it exact.
            unsafe bytes.storeBytes(of: 0xFFFF, toByteOffset: Self.maskOffset, as: UInt32.self)
            unsafe bytes.storeBytes(
                of: Self.x87AndSSE, toByteOffset: Self.headerOffset, as: UInt64.self)
        }
        return xsave
    }

    /// What it holds in our words; the upper halves only of a guest that has AVX on.
    func state(hasAVX: Bool, kernelGSBase: UInt64?) -> ExtendedState? {
        unsafe withUnsafeBytes(of: self) { bytes in
            let inUse = unsafe bytes.load(fromByteOffset: Self.headerOffset, as: UInt64.self)
            let count = ExtendedState.upperYMMByteCount
            // What is not in use is as after a reset, whatever lies there.
            let upper =
                unsafe inUse & Self.avx == 0
                ? [UInt8](repeating: 0, count: count)
                : Array(bytes[Self.upperYMMOffset..<Self.upperYMMOffset + count])
            return unsafe ExtendedState(
                fxsave: Array(bytes.prefix(ExtendedState.byteCount)),
                upperYMM: hasAVX ? upper : nil, kernelGSBase: kernelGSBase)
        }
    }

    /// Replaces x87 and SSE, and AVX when it is given, and marks them as in use; other components stay.
    ///
    /// KVM refuses MXCSR bits that the CPU lacks, so these are left out.
    mutating func replace(by state: ExtendedState) {
        unsafe change { bytes in
            let mask = unsafe bytes.load(fromByteOffset: Self.maskOffset, as: UInt32.self)
            var inUse = unsafe bytes.load(fromByteOffset: Self.headerOffset, as: UInt64.self)
            let mxcsr = state.mxcsr & ExtendedState.mxcsrMask(stored: mask)
            unsafe bytes.copyBytes(from: state.bytes)
            unsafe bytes.storeBytes(of: mxcsr, toByteOffset: Self.mxcsrOffset, as: UInt32.self)
            unsafe bytes.storeBytes(of: mask, toByteOffset: Self.maskOffset, as: UInt32.self)
            inUse |= Self.x87AndSSE
            if let upper = state.upperYMM {
                unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[Self.upperYMMOffset...])
                    .copyBytes(from: upper)
                inUse |= Self.avx
            }
            unsafe bytes.storeBytes(of: inUse, toByteOffset: Self.headerOffset, as: UInt64.self)
        }
    }

    private mutating func change(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
        // SAFETY: 4096 bytes, longer than any offset used here.
        unsafe withUnsafeMutableBytes(of: &self) { unsafe body($0) }
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
