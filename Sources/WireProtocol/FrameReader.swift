/// Takes one frame apart; every read is checked against what is there.
package struct FrameReader {
    private let bytes: [UInt8]
    private var offset = 0
    private let end: Int

    init(_ bytes: [UInt8], count: Int) {
        self.bytes = bytes
        self.end = min(max(count, 0), bytes.count)
    }

    private mutating func take(_ count: Int) throws(WireError) -> Int {
        guard count <= end - offset else {
            throw .truncated(needed: count, available: end - offset)
        }
        defer { offset += count }
        return offset
    }

    private mutating func read<Value: FixedWidthInteger & UnsignedInteger>(
        _: Value.Type
    ) throws(WireError) -> Value {
        let start = try take(MemoryLayout<Value>.size)
        return bytes.withUnsafeBytes {
            Value(littleEndian: $0.loadUnaligned(fromByteOffset: start, as: Value.self))
        }
    }

    mutating func readUInt8() throws(WireError) -> UInt8 { try read(UInt8.self) }
    mutating func readUInt16() throws(WireError) -> UInt16 { try read(UInt16.self) }
    mutating func readUInt32() throws(WireError) -> UInt32 { try read(UInt32.self) }
    mutating func readUInt64() throws(WireError) -> UInt64 { try read(UInt64.self) }

    mutating func readBool(_ field: StaticString) throws(WireError) -> Bool {
        switch try readUInt8() {
        case 0: return false
        case 1: return true
        default: throw .badValue("\(field)")
        }
    }

    mutating func readCounted(max: Int, _ field: StaticString) throws(WireError) -> [UInt8] {
        let count = Int(try readUInt32())
        guard count <= max else { throw .badValue("length of \(field)") }
        let start = try take(count)
        return Array(bytes[start..<start + count])
    }

    /// Text; bytes that are not UTF-8 become replacement characters.
    ///
    /// Those are three bytes each, so the text may have to be cut to stay within the limit.
    mutating func readText(_ field: StaticString) throws(WireError) -> String {
        let bytes = try readCounted(max: WireLimits.textBytesMax, field)
        return String(decoding: bytes, as: UTF8.self).cutToTextLimit
    }

    /// Lines for people, up to a limit of their own.
    mutating func readReport() throws(WireError) -> String {
        let bytes = try readCounted(max: WireLimits.reportBytesMax, "report")
        return String(decoding: bytes, as: UTF8.self).cut(toBytes: WireLimits.reportBytesMax)
    }

    /// A value of an enum that is stored as a byte.
    mutating func readEnum<Value: RawRepresentable>(
        _ field: StaticString
    ) throws(WireError) -> Value where Value.RawValue == UInt8 {
        guard let value = Value(rawValue: try readUInt8()) else { throw .badValue("\(field)") }
        return value
    }

    mutating func skipRest() { offset = end }

    func finish() throws(WireError) {
        guard offset == end else { throw .trailingBytes(end - offset) }
    }
}
