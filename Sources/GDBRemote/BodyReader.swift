import GuestModel

/// Reads a packet body from front to back; every refusal is a typed error.
struct BodyReader {
    private let bytes: [UInt8]
    private var index: Int

    init(_ bytes: [UInt8], from index: Int = 0) {
        self.bytes = bytes
        self.index = index
    }

    var isAtEnd: Bool { index >= bytes.count }

    /// What has not been read yet.
    var rest: ArraySlice<UInt8> { bytes[index...] }

    var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    /// Takes `character` if it is next.
    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    /// Takes `prefix` if all of it is next.
    mutating func take(prefix: String) -> Bool {
        let utf8 = prefix.utf8
        guard bytes.count - index >= utf8.count else { return false }
        var position = index
        for byte in utf8 {
            guard bytes[position] == byte else { return false }
            position += 1
        }
        index = position
        return true
    }

    mutating func expect(_ character: Unicode.Scalar) throws(PacketError) {
        guard take(character) else { throw .malformed }
    }

    func expectEnd() throws(PacketError) {
        guard isAtEnd else { throw .malformed }
    }

    /// At least one digit; leading zeros are free, the value must fit 64 bits.
    mutating func hexNumber() throws(PacketError) -> UInt64 {
        var value: UInt64 = 0
        let start = index
        while index < bytes.count, let digit = Hex.value(bytes[index]) {
            guard value >> 60 == 0 else { throw .malformed }
            value = value << 4 | UInt64(digit)
            index += 1
        }
        guard index > start else { throw .malformed }
        return value
    }

    /// At least one digit; the value must fit 64 bits.
    mutating func decimalNumber() throws(PacketError) -> UInt64 {
        let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard let value = UInt64(String(decoding: digits, as: UTF8.self)) else {
            throw .malformed
        }
        index += digits.count
        return value
    }

    mutating func address() throws(PacketError) -> GuestVirtualAddress {
        GuestVirtualAddress(try hexNumber())
    }

    /// A number that must be at most `limit`.
    mutating func count(atMost limit: Int) throws(PacketError) -> Int {
        let value = try hexNumber()
        guard value <= UInt64(limit) else { throw .malformed }
        return Int(value)
    }

    /// A byte count; one beyond `limit` is cut down to it (a short answer is allowed).
    mutating func count(cutTo limit: Int) throws(PacketError) -> Int {
        Int(min(try hexNumber(), UInt64(limit)))
    }

    /// All that is left, as hex pairs.
    mutating func hexBytesToEnd() throws(PacketError) -> [UInt8] {
        guard let result = Hex.bytes(of: bytes.span.extracting(index..<bytes.count)) else {
            throw .malformed
        }
        index = bytes.count
        return result
    }

    /// Hex pairs up to `end`, which is left for the next, or to the end of the body.
    mutating func hexBytes(upTo end: Unicode.Scalar) throws(PacketError) -> [UInt8] {
        let stop = rest.firstIndex(of: UInt8(ascii: end)) ?? bytes.count
        guard let result = Hex.bytes(of: bytes.span.extracting(index..<stop)) else {
            throw .malformed
        }
        index = stop
        return result
    }

    /// All that is left, as it is.
    mutating func rawBytesToEnd() -> [UInt8] {
        let result = Array(rest)
        index = bytes.count
        return result
    }

    /// The text up to `end` (which is taken too), or to the end of the body.
    mutating func text(upTo end: Unicode.Scalar) -> ArraySlice<UInt8> {
        let stop = rest.firstIndex(of: UInt8(ascii: end)) ?? bytes.count
        let result = bytes[index..<stop]
        index = min(stop + 1, bytes.count)
        return result
    }
}
