/// Where each register lies in the `g` packet, by the numbers of `TargetDescription`.
///
/// - Source: gdb manual, node "Standard Target Features", "i386 Features"; the order is ours.
package struct RegisterLayout: Hashable, Sendable {
    package static let rip = 16
    package static let eflags = 17
    package static let mxcsr = 56
    package static let fsBase = 57
    package static let gsBase = 58
    package static let kernelGSBase = 59
    static let cr2 = 61

    /// Whether the upper halves of the YMM registers are there, behind all others.
    package let hasAVX: Bool

    package init(hasAVX: Bool) {
        self.hasAVX = hasAVX
    }

    package var registerCount: Int { hasAVX ? Self.upperYMM.upperBound : Self.upperYMM.lowerBound }
    package var byteCount: Int { hasAVX ? 864 : 608 }

    static let general = 0..<17
    static let segmentSelectors = 18..<24
    static let x87Stack = 24..<32
    static let x87Control = 32..<40
    static let xmm = 40..<56
    static let control = 60..<66
    static let upperYMM = 66..<82

    /// The registers of x87 and SSE.
    static let fxsave = 24..<57

    /// The first byte of x87 and SSE in the `g` packet.
    package static let extendedStart = 164

    /// Whether register `number` comes out of `ExtendedState`.
    package func isExtended(_ number: UInt64) -> Bool {
        guard number < UInt64(registerCount) else { return false }
        return Self.fxsave.contains(Int(number)) || number == UInt64(Self.kernelGSBase)
            || Self.upperYMM.contains(Int(number))
    }

    /// The bytes of register `number` in the `g` packet, or nil for a number that is none.
    package func range(of number: UInt64) -> Range<Int>? {
        guard number < UInt64(registerCount) else { return nil }
        return Self.range(of: Int(number))
    }

    /// The same for a `number` known to be a register's.
    static func range(of number: Int) -> Range<Int> {
        switch number {
        case general: block(start: 0, size: 8, index: number)
        case ..<24: block(start: 136, size: 4, index: number - eflags)
        case x87Stack: block(start: 164, size: 10, index: number - 24)
        case x87Control: block(start: 244, size: 4, index: number - 32)
        case xmm: block(start: 276, size: 16, index: number - 40)
        case mxcsr: block(start: 532, size: 4, index: 0)
        case upperYMM: block(start: 608, size: 16, index: number - upperYMM.lowerBound)
        default: block(start: 536, size: 8, index: number - fsBase)
        }
    }

    private static func block(start: Int, size: Int, index: Int) -> Range<Int> {
        start + index * size..<start + (index + 1) * size
    }
}
