extension Span where Element == UInt8 {
    /// The unsigned little-endian integer at `offset`, or nil when any of its bytes lies outside.
    func littleEndian<Value: FixedWidthInteger & UnsignedInteger>(
        _ type: Value.Type, at offset: UInt64
    ) -> Value? {
        let size = MemoryLayout<Value>.size
        guard let start = Int(exactly: offset), count >= size, start <= count - size else {
            return nil
        }
        var value: Value = 0
        for index in 0..<size {
            value |= Value(self[start + index]) << (8 * index)
        }
        return value
    }
}
