/// Hand-made ELF files for the tests that need broken ones: a header, program headers, room.
struct ImageBuilder {
    struct Load {
        var type: UInt32 = 1
        var flags: UInt32 = 7
        var offset: UInt64 = 0
        var address: UInt64 = 0
        var fileBytes: UInt64 = 0x1000
        var memoryBytes: UInt64 = 0x1000
    }

    var type: UInt16 = 3
    var machine: UInt16 = 62
    var entry: UInt64 = 0x100
    var loads: [Load] = [Load()]
    var fileBytes = 0x1000

    var bytes: [UInt8] {
        var image: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        func put<Value: FixedWidthInteger>(_ value: Value) {
            for index in 0..<MemoryLayout<Value>.size {
                image.append(UInt8(truncatingIfNeeded: value >> (8 * index)))
            }
        }
        put(type)
        put(machine)
        put(UInt32(1))
        put(entry)
        put(UInt64(64))  // program headers
        put(UInt64(0))  // section headers
        put(UInt32(0))
        for value: UInt16 in [64, 56, UInt16(loads.count), 64, 0, 0] { put(value) }
        for load in loads {
            put(load.type)
            put(load.flags)
            put(load.offset)
            put(load.address)
            put(load.address)
            put(load.fileBytes)
            put(load.memoryBytes)
            put(UInt64(0x1000))
        }
        if image.count < fileBytes {
            image += [UInt8](repeating: 0, count: fileBytes - image.count)
        }
        return image
    }
}

extension [UInt8] {
    /// A copy with `value` in little-endian order at `offset`.
    func patched<Value: FixedWidthInteger>(_ value: Value, at offset: Int) -> [UInt8] {
        var copy = self
        for index in 0..<MemoryLayout<Value>.size {
            copy[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
        }
        return copy
    }
}
