/// Numbers with a unit, as the file writes them.
enum UnitText {
    /// Most digits before the unit; keeps every product inside 64 bits.
    static let digitCountMax = 9

    /// `64KiB` and the like, in bytes; nil when the text is not of that form.
    static func byteCount(_ text: String) -> UInt64? {
        let units: [(String, UInt64)] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
        guard let (number, factor) = split(text, units), number > 0 else { return nil }
        return number * factor
    }

    /// `250ms` and the like; nil when the text is not of that form.
    static func duration(_ text: String) -> Duration? {
        let units: [(String, UInt64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        guard let (number, factor) = split(text, units) else { return nil }
        return .milliseconds(number * factor)
    }

    private static func split(
        _ text: String, _ units: [(String, UInt64)]
    ) -> (number: UInt64, factor: UInt64)? {
        let digits = text.prefix { "0"..."9" ~= $0 }
        let unit = text.dropFirst(digits.count)
        guard (1...digitCountMax).contains(digits.count), digits == "0" || !digits.hasPrefix("0"),
            let number = UInt64(digits), let match = units.first(where: { $0.0 == unit })
        else { return nil }
        return (number, match.1)
    }
}
