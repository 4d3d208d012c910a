package import GuestModel

/// Memory in the format of XSAVE: the FXSAVE area, a header, and the upper halves of the YMM registers.
///
/// The standard form and the compacted one have all three at the same places, because AVX is the first
/// of the components behind the header.
/// - Source: Intel SDM volume 1, "XSAVE Area", "AVX State" and "Compacted Form of the XSAVE Area".
@safe package struct XSaveArea {
    private static let mxcsrOffset = 24
    private static let maskOffset = 28
    private static let inUseOffset = 512
    private static let formOffset = 520
    private static let upperYMMOffset = 576

    /// Bits of the header: which components are in use.
    private static let x87AndSSEInUse: UInt64 = 0b011
    private static let avx: UInt64 = 0b100

    private let bytes: UnsafeMutableRawBufferPointer

    /// Looks at `bytes`, at least 832 of them, for as long as they are valid.
    package init(_ bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count >= Self.upperYMMOffset + ExtendedState.upperYMMByteCount)
        unsafe self.bytes = bytes
    }

    // SAFETY of all below: the area is longer than any offset used here.

    /// The state after a reset: FCW 0x37F, MXCSR 0x1F80, everything else zero but for the form.
    package func reset(mask: UInt32 = 0) {
        let form = unsafe bytes.loadUnaligned(fromByteOffset: Self.formOffset, as: UInt64.self)
        unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
        unsafe bytes.storeBytes(of: 0x37F, as: UInt16.self)
        unsafe bytes.storeBytes(of: 0x1F80, toByteOffset: Self.mxcsrOffset, as: UInt32.self)
        unsafe bytes.storeBytes(of: mask, toByteOffset: Self.maskOffset, as: UInt32.self)
        unsafe bytes.storeBytes(of: form, toByteOffset: Self.formOffset, as: UInt64.self)
        inUse = Self.x87AndSSEInUse
    }

    /// What it holds in our words; the upper halves only of a guest that has AVX on.
    package func state(hasAVX: Bool, kernelGSBase: UInt64?) -> ExtendedState? {
        let count = ExtendedState.upperYMMByteCount
        // What is not in use is as after a reset, whatever lies there.
        let upper =
            unsafe inUse & Self.avx == 0
            ? [UInt8](repeating: 0, count: count)
            : Array(bytes[Self.upperYMMOffset..<Self.upperYMMOffset + count])
        return ExtendedState(
            fxsave: x87AndSSE,
            upperYMM: hasAVX ? upper : nil, kernelGSBase: kernelGSBase)
    }

    /// Replaces x87 and SSE, and AVX when it is given, and marks them as in use; other components stay.
    ///
    /// MXCSR bits that the CPU lacks are refused by it, so these are left out.
    package func replace(by state: ExtendedState) {
        let mask = unsafe bytes.loadUnaligned(fromByteOffset: Self.maskOffset, as: UInt32.self)
        let mxcsr = state.mxcsr & ExtendedState.mxcsrMask(stored: mask)
        unsafe bytes.copyBytes(from: state.bytes)
        unsafe bytes.storeBytes(of: mxcsr, toByteOffset: Self.mxcsrOffset, as: UInt32.self)
        unsafe bytes.storeBytes(of: mask, toByteOffset: Self.maskOffset, as: UInt32.self)
        inUse |= Self.x87AndSSEInUse
        guard let upper = state.upperYMM else { return }
        unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[Self.upperYMMOffset...])
            .copyBytes(from: upper)
        inUse |= Self.avx
    }

    /// The FXSAVE area; what is not in use is as after a reset, whatever lies there.
    ///
    /// MXCSR belongs to SSE in the compacted form; in the standard one it is always there.
    /// - Source: Intel SDM volume 1, "Operation of XRSTOR".
    private var x87AndSSE: [UInt8] {
        var area = unsafe Array(bytes.prefix(ExtendedState.byteCount))
        let form = unsafe bytes.loadUnaligned(fromByteOffset: Self.formOffset, as: UInt64.self)
        if inUse & 0b01 == 0 {
            for place in Array(0..<Self.mxcsrOffset) + Array(32..<160) { area[place] = 0 }
            (area[0], area[1]) = (0x7F, 0x03)
        }
        if inUse & 0b10 == 0 {
            for place in 160..<416 { area[place] = 0 }
            if form >> 63 != 0 {
                for (index, byte) in [0x80, 0x1F, 0, 0].enumerated() {
                    area[Self.mxcsrOffset + index] = UInt8(byte)
                }
            }
        }
        return area
    }

    private var inUse: UInt64 {
        get { unsafe bytes.loadUnaligned(fromByteOffset: Self.inUseOffset, as: UInt64.self) }
        nonmutating set {
            unsafe bytes.storeBytes(of: newValue, toByteOffset: Self.inUseOffset, as: UInt64.self)
        }
    }
}
