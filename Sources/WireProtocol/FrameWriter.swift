/// Builds one frame in a buffer that can be used again.
package struct FrameWriter {
    private var bytes: [UInt8]

    /// Takes over the storage of `bytes`; its content is dropped.
    init(reusing bytes: consuming [UInt8]) {
        bytes.removeAll(keepingCapacity: true)
        self.bytes = bytes
    }

    mutating func beginFrame(type: UInt16) {
        append(type)
        append(UInt16(0))
        append(UInt32(0))
    }

    consuming func finishFrame() -> [UInt8] {
        let payload = bytes.count - WireLimits.headerBytes
        precondition(
            payload <= WireLimits.payloadBytesMax, "a message is longer than a frame may be")
        for index in 0..<4 {
            bytes[4 + index] = UInt8(truncatingIfNeeded: payload >> (8 * index))
        }
        return bytes
    }

    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ flag: Bool) {
        bytes.append(flag ? 1 : 0)
    }

    /// A count of 32 bits and the bytes.
    mutating func appendCounted(_ content: [UInt8]) {
        append(UInt32(content.count))
        bytes.append(contentsOf: content)
    }

    /// A count of 32 bits and UTF-8; what is above the limit is cut off.
    mutating func append(_ text: String) {
        appendCounted(Array(text.cutToTextLimit.utf8))
    }

    /// Lines for people, up to a limit of their own.
    mutating func append(report text: String) {
        appendCounted(Array(text.cut(toBytes: WireLimits.reportBytesMax).utf8))
    }
}

extension String {
    var cutToTextLimit: String { cut(toBytes: WireLimits.textBytesMax) }

    /// As many whole characters of Unicode as fit.
    func cut(toBytes limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var end = utf8.index(startIndex, offsetBy: limit)
        while end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(unicodeScalars[..<end])
    }
}
