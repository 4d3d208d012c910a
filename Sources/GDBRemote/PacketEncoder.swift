/// Builds framed packets in one buffer: `start`, any number of appends, `finish`.
///
/// - Source: gdb manual, node "Overview" of the remote protocol.
package struct PacketEncoder: Sendable {
    /// Everything framed so far.
    package private(set) var bytes: [UInt8] = []

    private var bodyStart = 0

    package init() {}

    /// Bytes of the body being built, as they will be sent.
    package var bodyCount: Int { bytes.count - bodyStart }

    /// Gives away the buffer and starts with an empty one.
    package mutating func take() -> [UInt8] {
        let result = bytes
        bytes = []
        bodyStart = 0
        return result
    }

    /// Appends `+` outside of any packet.
    package mutating func acknowledge() {
        bytes.append(UInt8(ascii: "+"))
    }

    /// Appends `-` outside of any packet.
    package mutating func requestResend() {
        bytes.append(UInt8(ascii: "-"))
    }

    package mutating func start() {
        bytes.append(UInt8(ascii: "$"))
        bodyStart = bytes.count
    }

    package mutating func finish() {
        let sum = bodySum
        bytes.append(UInt8(ascii: "#"))
        bytes.append(Hex.digit(sum >> 4))
        bytes.append(Hex.digit(sum & 15))
    }

    private var bodySum: UInt8 {
        var sum: UInt8 = 0
        let span = bytes.span
        for index in bodyStart..<span.count { sum &+= span[index] }
        return sum
    }

    /// Frames `text` as a whole body; it must need no escapes.
    package mutating func packet(_ text: String) {
        start()
        append(text)
        finish()
    }

    /// Appends text that needs no escapes.
    package mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    package mutating func append(hex source: Span<UInt8>) {
        Hex.append(source, to: &bytes)
    }

    /// The same, with runs of equal digits as one digit, `*` and a count; never longer than without.
    mutating func append(hexInRuns source: Span<UInt8>) {
        RunLength.append(hex: source, to: &bytes)
    }

    /// Appends `xx` for each of `byteCount` bytes that cannot be shown.
    mutating func append(unavailable byteCount: Int) {
        bytes.append(contentsOf: repeatElement(UInt8(ascii: "x"), count: 2 * byteCount))
    }

    package mutating func append(number value: UInt64) {
        Hex.append(number: value, to: &bytes)
    }

    /// Appends the low `byteCount` bytes of `value` in target order as hex pairs.
    package mutating func append(littleEndian value: UInt64, byteCount: Int = 8) {
        Hex.append(littleEndian: value, byteCount: byteCount, to: &bytes)
    }

    /// Appends raw bytes, escaped, as many as fit the packet limit; answers how many did.
    @discardableResult
    package mutating func append(escaping source: Span<UInt8>) -> Int {
        // Asking for exactly what is needed would copy everything for each of many small packets.
        let needed = bytes.count + source.count + 16
        if bytes.capacity < needed { bytes.reserveCapacity(max(needed, 2 * bytes.capacity)) }
        for index in source.indices {
            let byte = source[index]
            // 2 bytes is the longest form of one.
            guard bodyCount &+ 2 <= PacketLimits.bodyBytesMax else { return index }
            if Self.needsEscape(byte) {
                bytes.append(UInt8(ascii: "}"))
                bytes.append(byte ^ 0x20)
            } else {
                bytes.append(byte)
            }
        }
        return source.count
    }

    /// Overwrites one byte of the body being built; it must need no escape.
    mutating func replaceByte(at index: Int, with byte: UInt8) {
        bytes[index] = byte
    }

    /// `# $ } *`: the marks of the framing and of run-length coding.
    @inline(__always)
    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte == 0x23 || byte == 0x24 || byte == 0x7D || byte == 0x2A
    }
}
