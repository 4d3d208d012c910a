/// The registers that nobody reads at every stop: x87 and SSE in the layout of FXSAVE (64-bit form, 512
/// bytes), and what else the driver can show.
///
/// - Source: Intel SDM volume 1, "FXSAVE Area" and "XSAVE Area".
package struct ExtendedState: Hashable, Sendable {
    package static let byteCount = 512
    package static let upperYMMByteCount = 256

    package let bytes: [UInt8]
    /// Bits 128 to 255 of YMM0 to YMM15, 256 bytes; nil while the guest has AVX off.
    package let upperYMM: [UInt8]?
    /// What SWAPGS exchanges with the GS base; nil where the driver cannot tell.
    package var kernelGSBase: UInt64?

    /// Nil unless the areas have exactly the lengths above.
    package init?(fxsave bytes: [UInt8], upperYMM: [UInt8]? = nil, kernelGSBase: UInt64? = nil) {
        guard bytes.count == Self.byteCount,
            upperYMM == nil || upperYMM?.count == Self.upperYMMByteCount
        else { return nil }
        self.bytes = bytes
        self.upperYMM = upperYMM
        self.kernelGSBase = kernelGSBase
    }

    package var mxcsr: UInt32 { word(at: 24) }

    /// The MXCSR bits that this CPU has; the others cannot be set.
    package var mxcsrMask: UInt32 { Self.mxcsrMask(stored: word(at: 28)) }

    /// The MXCSR bits of a CPU that stored this mask; a zero means one of the manual's oldest form.
    package static func mxcsrMask(stored: UInt32) -> UInt32 { stored == 0 ? 0xFFBF : stored }

    private func word(at offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}
