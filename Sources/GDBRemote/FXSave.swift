import GuestModel

/// The FXSAVE area and its registers' places in the `g` packet.
///
/// - Source: Intel SDM volume 1, "FXSAVE Area" and "x87 FPU Tag Word".
enum FXSave {
    /// Places in the FXSAVE area: fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop in the
    /// order of the `g` packet; the tag word has a form of its own.
    private static let control: [(offset: Int, byteCount: Int)] = [
        (0, 2), (2, 2), (4, 1), (12, 2), (8, 4), (20, 2), (16, 4), (6, 2),
    ]
    private static let tagIndex = 2
    private static let mxcsrOffset = 24
    private static let stackOffset = 32
    private static let xmmOffset = 160

    static func put(_ state: ExtendedState, into span: inout MutableSpan<UInt8>) {
        let area = state.bytes
        for index in 0..<8 {
            for byte in 0..<10 {
                span[164 + 10 * index + byte] = area[stackOffset + 16 * index + byte]
            }
        }
        for (index, place) in control.enumerated() {
            let value = number(area, at: place.offset, byteCount: place.byteCount)
            let shown = index == tagIndex ? UInt64(fullTags(area)) : value
            span.put(shown, at: 244 + 4 * index, byteCount: 4)
        }
        for index in 0..<256 { span[276 + index] = area[xmmOffset + index] }
        for index in 0..<4 { span[532 + index] = area[mxcsrOffset + index] }
    }

    /// The FXSAVE area of `old` with the registers of `image`.
    static func replacing(_ old: ExtendedState, by image: [UInt8]) -> [UInt8] {
        var area = old.bytes
        for index in 0..<8 {
            let source = 164 + 10 * index
            let target = stackOffset + 16 * index
            area.replaceSubrange(target..<target + 10, with: image[source..<source + 10])
        }
        for (index, place) in control.enumerated() {
            let value = number(image, at: 244 + 4 * index, byteCount: 4)
            let stored = index == tagIndex ? UInt64(shortTags(value)) : value
            store(stored, in: &area, at: place.offset, byteCount: place.byteCount)
        }
        area.replaceSubrange(xmmOffset..<xmmOffset + 256, with: image[276..<532])
        let mxcsr = number(image, at: 532, byteCount: 4) & UInt64(old.mxcsrMask)
        store(mxcsr, in: &area, at: mxcsrOffset, byteCount: 4)
        return area
    }

    /// Two bits a register: 0 valid, 1 zero, 2 special, 3 empty.
    private static func fullTags(_ area: [UInt8]) -> UInt16 {
        let top = Int(area[3] >> 3 & 7)
        var tags: UInt16 = 0
        for register in 0..<8 {
            let isUsed = area[4] >> register & 1 == 1
            // The area holds the stack from its top on; tags count physical registers.
            let place = stackOffset + 16 * ((register + 8 - top) & 7)
            tags |= (isUsed ? tag(area, at: place) : 3) << UInt16(2 * register)
        }
        return tags
    }

    private static func tag(_ area: [UInt8], at place: Int) -> UInt16 {
        let mantissa = number(area, at: place, byteCount: 8)
        let exponent = number(area, at: place + 8, byteCount: 2) & 0x7FFF
        if exponent == 0 && mantissa == 0 { return 1 }
        return exponent != 0 && exponent != 0x7FFF && mantissa >> 63 == 1 ? 0 : 2
    }

    private static func shortTags(_ full: UInt64) -> UInt8 {
        var tags: UInt8 = 0
        for register in 0..<8 where full >> UInt64(2 * register) & 3 != 3 { tags |= 1 << register }
        return tags
    }

    private static func number(_ bytes: [UInt8], at offset: Int, byteCount: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<byteCount { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
        return value
    }

    private static func store(
        _ value: UInt64, in bytes: inout [UInt8], at offset: Int, byteCount: Int
    ) {
        for index in 0..<byteCount {
            bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }
}
