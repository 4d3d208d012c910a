/// A table of a FlatBuffers message, read in place; every offset is checked before it is followed.
///
/// Work is bounded: a caller reads the fields it knows, each once, and nothing recurses.
///
/// - Source: FlatBuffers documentation, "FlatBuffer Internals".
struct MessageTable {
    private let bytes: [UInt8]
    private let start: UInt64
    /// Where the table's fields lie, relative to its start: one 16-bit offset a slot.
    private let slots: UInt64
    private let slotCount: UInt64
    private let byteCount: UInt64

    /// The root table of a message with its size prefix.
    init(root message: [UInt8]) throws(MessageError) {
        guard let size = message.span.littleEndian(UInt32.self, at: 0),
            UInt64(size) + 4 == UInt64(message.count)
        else { throw .malformed("size prefix") }
        guard let offset = message.span.littleEndian(UInt32.self, at: 4) else {
            throw .malformed("root offset")
        }
        try self.init(message, start: 4 + UInt64(offset))
    }

    private init(_ bytes: [UInt8], start: UInt64) throws(MessageError) {
        guard let distance = bytes.span.littleEndian(UInt32.self, at: start) else {
            throw .malformed("table at \(start)")
        }
        let description = Int64(start) - Int64(Int32(bitPattern: distance))
        guard let place = UInt64(exactly: description),
            let size = bytes.span.littleEndian(UInt16.self, at: place),
            let tableSize = bytes.span.littleEndian(UInt16.self, at: place + 2),
            size >= 4, size % 2 == 0, tableSize >= 4,
            place + UInt64(size) <= UInt64(bytes.count),
            start + UInt64(tableSize) <= UInt64(bytes.count)
        else { throw .malformed("description of the table at \(start)") }
        self.bytes = bytes
        self.start = start
        slots = place + 4
        slotCount = (UInt64(size) - 4) / 2
        byteCount = UInt64(tableSize)
    }

    /// Where the field of `slot` lies in the message, nil when it is left out.
    private func place(
        _ slot: UInt64, size: UInt64, _ name: String
    ) throws(MessageError) -> UInt64? {
        guard slot < slotCount,
            let offset = bytes.span.littleEndian(UInt16.self, at: slots + 2 * slot), offset != 0
        else { return nil }
        guard offset >= 4, UInt64(offset) + size <= byteCount else { throw .malformed(name) }
        return start + UInt64(offset)
    }

    /// The number in `slot`; 0 when it is left out, which is how FlatBuffers write a zero.
    func number<Value: FixedWidthInteger & UnsignedInteger>(
        _ type: Value.Type, _ slot: UInt64, _ name: String
    ) throws(MessageError) -> Value {
        let size = UInt64(MemoryLayout<Value>.size)
        guard let place = try place(slot, size: size, name) else { return 0 }
        guard let value = bytes.span.littleEndian(type, at: place) else { throw .malformed(name) }
        return value
    }

    /// The place that the offset in `slot` leads to, nil when it is left out.
    private func target(_ slot: UInt64, _ name: String) throws(MessageError) -> UInt64? {
        guard let place = try place(slot, size: 4, name) else { return nil }
        guard let offset = bytes.span.littleEndian(UInt32.self, at: place), offset > 0 else {
            throw .malformed(name)
        }
        return place + UInt64(offset)
    }

    /// The text in `slot`, nil when it is left out.
    func optionalString(_ slot: UInt64, _ name: String) throws(MessageError) -> String? {
        guard let place = try target(slot, name) else { return nil }
        guard let count = bytes.span.littleEndian(UInt32.self, at: place),
            let end = bytes.span.littleEndian(UInt8.self, at: place + 4 + UInt64(count)), end == 0
        else { throw .malformed(name) }
        let first = Int(place) + 4
        let text = bytes[first..<first + Int(count)]
        guard let string = String(validating: text, as: UTF8.self) else { throw .malformed(name) }
        return string
    }

    /// The text in `slot`, which has to be there.
    func string(_ slot: UInt64, _ name: String) throws(MessageError) -> String {
        guard let text = try optionalString(slot, name) else { throw .missing(name) }
        return text
    }

    /// How many offsets the vector in `slot` has; 0 when it is left out.
    func vectorCount(_ slot: UInt64, _ name: String) throws(MessageError) -> Int {
        guard let place = try target(slot, name) else { return 0 }
        guard let count = bytes.span.littleEndian(UInt32.self, at: place),
            place + 4 + 4 * UInt64(count) <= UInt64(bytes.count)
        else { throw .malformed(name) }
        return Int(count)
    }

    /// The table in `slot`, which has to be there.
    func table(_ slot: UInt64, _ name: String) throws(MessageError) -> MessageTable {
        guard let place = try target(slot, name) else { throw .missing(name) }
        return try MessageTable(bytes, start: place)
    }
}
