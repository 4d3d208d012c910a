import CLinux
import GuestModel

/// `struct kvm_xsave` starts with the FXSAVE image; the XSAVE header is behind it.
///
/// - Source: Intel SDM volume 1, "XSAVE Area".
extension kvm_xsave {
    private static let headerOffset = 512

    /// The state after a reset: FCW 0x37F, MXCSR 0x1F80, everything else zero.
    static var reset: kvm_xsave {
        var xsave = kvm_xsave()
        unsafe xsave.change { bytes in
            unsafe bytes.storeBytes(of: 0x37F, as: UInt16.self)
            unsafe bytes.storeBytes(of: 0x1F80, toByteOffset: 24, as: UInt32.self)
            unsafe bytes.storeBytes(of: 3, toByteOffset: Self.headerOffset, as: UInt64.self)
        }
        return xsave
    }

    var fxsave: ExtendedState? {
        unsafe withUnsafeBytes(of: self) { bytes in
            unsafe ExtendedState(fxsave: Array(bytes.prefix(ExtendedState.byteCount)))
        }
    }

    /// Replaces x87 and SSE state and marks both as in use; other components stay.
    mutating func replaceFXSave(_ state: ExtendedState) {
        unsafe change { bytes in
            unsafe bytes.copyBytes(from: state.bytes)
            let inUse = unsafe bytes.load(fromByteOffset: Self.headerOffset, as: UInt64.self)
            unsafe bytes.storeBytes(of: inUse | 3, toByteOffset: Self.headerOffset, as: UInt64.self)
        }
    }

    private mutating func change(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
        // SAFETY: 4096 bytes, longer than any offset used here.
        unsafe withUnsafeMutableBytes(of: &self) { unsafe body($0) }
    }
}
