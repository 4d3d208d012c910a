import GuestModel

/// Lines for people: plain ASCII, at most a hundred characters each.
struct Report {
    static let lineMax = 100

    private(set) var text = ""

    /// Adds a line; what the guest had a hand in is made printable, and what is too long is cut.
    mutating func line(_ line: String) {
        text += line.printable(max: Self.lineMax) + "\n"
    }

    /// Adds a line of a name and what is to be said about it.
    mutating func field(_ name: String, _ value: String) {
        line(name.padded(to: 10) + " " + value)
    }

    mutating func section(_ title: String) { line("-- \(title)") }
}

extension String {
    func padded(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(0, width - utf8.count))
    }
}

extension FixedWidthInteger where Self: UnsignedInteger {
    /// For example 0x1f.
    var hex: String { "0x" + String(self, radix: 16) }

    /// All of its digits, without a prefix.
    var digits: String {
        let text = String(self, radix: 16)
        return String(repeating: "0", count: Self.bitWidth / 4 - text.utf8.count) + text
    }
}

extension UInt64 {
    /// As a number of bytes, in the largest unit that fits without a rest.
    var byteCountText: String {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] where self != 0 {
            if self & ((1 << UInt64(shift)) - 1) == 0 { return "\(self >> UInt64(shift)) \(unit)" }
        }
        return "\(self) bytes"
    }

    /// As a time, from nanoseconds.
    var durationText: String {
        if self < 1_000_000 { return "\(self / 1000) us" }
        if self < 1_000_000_000 { return "\(self / 1_000_000) ms" }
        return "\(self / 1_000_000_000).\(self / 100_000_000 % 10) s"
    }
}

/// The names of the bits that are set, and what is left over in hexadecimal.
func bitNames(_ value: UInt64, _ names: [(bit: UInt64, name: String)]) -> String {
    var rest = value
    var words: [String] = []
    for (bit, name) in names where value >> bit & 1 == 1 {
        words.append(name)
        rest &= ~(1 << bit)
    }
    if rest != 0 { words.append("and \(rest.hex)") }
    return words.isEmpty ? "none" : words.joined(separator: " ")
}
