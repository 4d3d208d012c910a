/// Hex digits to numbers and back, without strings.
package enum Hex {
    /// The value of one digit in either case, or nil.
    @inline(__always)
    package static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit &- 0x30
        case 0x61...0x66: digit &- 0x57
        case 0x41...0x46: digit &- 0x37
        default: nil
        }
    }

    /// The lower-case digit of `value`, which must be 0...15.
    @inline(__always)
    package static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? value &+ 0x30 : value &+ 0x57
    }

    /// Appends two digits for each byte of `source`.
    package static func append(_ source: Span<UInt8>, to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: source.count &* 2))
        // A span spares the check for unique ownership that each `append` would make.
        var target = bytes.mutableSpan
        _ = write(source, to: &target, at: start)
    }

    /// Writes two digits for each byte of `source` from `start` on; answers where they end.
    @inline(__always)
    static func write(
        _ source: Span<UInt8>, to target: inout MutableSpan<UInt8>, at start: Int
    ) -> Int {
        var position = start
        for index in source.indices {
            let byte = source[index]
            target[position] = digit(byte >> 4)
            target[position &+ 1] = digit(byte & 15)
            position &+= 2
        }
        return position
    }

    /// Appends `value` without leading zeros; at least one digit.
    package static func append(number value: UInt64, to bytes: inout [UInt8]) {
        var shift = value == 0 ? 0 : (63 - value.leadingZeroBitCount) & ~3
        while shift >= 0 {
            bytes.append(digit(UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 15))
            shift -= 4
        }
    }

    /// Appends the low `byteCount` (1...8) bytes of `value` in target order, two digits each.
    package static func append(
        littleEndian value: UInt64, byteCount: Int = 8, to bytes: inout [UInt8]
    ) {
        for index in 0..<byteCount {
            let byte = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
            bytes.append(digit(byte >> 4))
            bytes.append(digit(byte & 15))
        }
    }

    /// The bytes that `digits` stand for, or nil for an odd count or anything that is no digit.
    package static func bytes(of digits: Span<UInt8>) -> [UInt8]? {
        guard digits.count.isMultiple(of: 2) else { return nil }
        var result = [UInt8](repeating: 0, count: digits.count / 2)
        var target = result.mutableSpan
        for index in target.indices {
            guard let high = value(digits[2 &* index]), let low = value(digits[2 &* index &+ 1])
            else { return nil }
            target[index] = high << 4 | low
        }
        return result
    }
}
