/// A sandbox's name: the one word used in files, commands, logs and process titles.
///
/// `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, so it fits DNS labels, paths and metric labels.
package struct SandboxName: Hashable, Comparable, Sendable, CustomStringConvertible {
    package static let byteCountMax = 63

    package let text: String

    /// Nil when the text is not of that form.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (1...Self.byteCountMax).contains(bytes.count) else { return nil }
        func isWordByte(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        guard bytes.allSatisfy({ isWordByte($0) || $0 == UInt8(ascii: "-") }) else { return nil }
        guard let first = bytes.first, let last = bytes.last, isWordByte(first), isWordByte(last)
        else { return nil }
        self.text = text
    }

    package var description: String { text }

    package static func < (left: Self, right: Self) -> Bool { left.text < right.text }
}
