/// Why a Hyperlight guest gave up, in its own words.
package struct GuestAbort: Hashable, Sendable {
    package let code: UInt8
    /// The exception vector when a CPU exception was the reason.
    package let vector: UInt8?
    /// At most 1 KiB, bytes that are not UTF-8 replaced; escape before showing.
    package let text: String
}

/// Puts together the words that a guest writes to port 102.
///
/// The low byte of each word counts the bytes above it, at most three. Byte 0xFF ends the abort.
///
/// - Source: Hyperlight guest ABI 0.17, abort protocol.
package struct AbortCollector: Hashable, Sendable {
    /// Code of guest errors that CPU exceptions come with.
    private static let guestError: UInt8 = 15
    private static let end: UInt8 = 0xFF
    private static let bytesMax = 1024

    private var bytes: [UInt8] = []

    package init() {}

    /// Whether an abort has begun and not ended.
    package var hasBegun: Bool { !bytes.isEmpty }

    /// The exception vector, known from the first word on, when a CPU exception is being reported.
    package var vector: UInt8? {
        guard bytes.count >= 2, bytes[0] == Self.guestError else { return nil }
        return bytes[1] <= 20 || bytes[1] == 30 ? bytes[1] : nil
    }

    /// Whether `word` begins the report of a CPU exception: its code and its vector and nothing else.
    ///
    /// A panic begins with a word of its code alone.
    package func beginsException(_ word: UInt32) -> Bool {
        guard !hasBegun, word & 0xFF == 2 else { return false }
        var next = self
        return next.collect(word) == nil && next.vector != nil
    }

    /// Takes one word; answers the abort when this word ends it, and starts anew.
    package mutating func collect(_ word: UInt32) -> GuestAbort? {
        for index in 0..<min(word & 0xFF, 3) {
            let byte = UInt8(truncatingIfNeeded: word >> (8 * (index + 1)))
            if byte == Self.end { return finish() }
            guard bytes.count < Self.bytesMax else {
                bytes = []
                return GuestAbort(
                    code: 0, vector: nil, text: "abort text longer than \(Self.bytesMax) bytes")
            }
            bytes.append(byte)
        }
        return nil
    }

    private mutating func finish() -> GuestAbort {
        defer { bytes = [] }
        let text = bytes.dropFirst(vector == nil ? 1 : 2)
        return GuestAbort(
            code: bytes.first ?? 0, vector: vector, text: String(decoding: text, as: UTF8.self))
    }
}
