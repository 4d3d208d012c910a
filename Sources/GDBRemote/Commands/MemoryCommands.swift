import GuestModel

extension Command {
    /// `mADDRESS,LENGTH` and `xADDRESS,LENGTH`.
    static func readMemory(
        _ reader: inout BodyReader, form: MemoryForm
    ) throws(PacketError) -> Command {
        let address = try reader.address()
        try reader.expect(",")
        let byteCount = try reader.count(cutTo: PacketLimits.memoryBytesMax)
        try reader.expectEnd()
        return .readMemory(address, byteCount: byteCount, form)
    }

    /// `MADDRESS,LENGTH:HEX`.
    static func writeMemoryHex(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let (address, byteCount) = try writeHeader(&reader)
        let bytes = try reader.hexBytesToEnd()
        guard bytes.count == byteCount else { throw .malformed }
        return .writeMemory(address, bytes)
    }

    /// `XADDRESS,LENGTH:BYTES`; length 0 is gdb's probe for this packet.
    static func writeMemoryBinary(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let (address, byteCount) = try writeHeader(&reader)
        let bytes = reader.rawBytesToEnd()
        guard bytes.count == byteCount else { throw .malformed }
        return .writeMemory(address, bytes)
    }

    /// `qCRC:ADDRESS,LENGTH`, behind the colon.
    static func checksumMemory(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let address = try reader.address()
        try reader.expect(",")
        let byteCount = try reader.hexNumber()
        try reader.expectEnd()
        return .checksumMemory(address, byteCount: byteCount)
    }

    /// `qSearch:memory:ADDRESS;LENGTH;PATTERN`, behind the second colon.
    static func searchMemory(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let address = try reader.address()
        try reader.expect(";")
        let byteCount = try reader.hexNumber()
        try reader.expect(";")
        let pattern = reader.rawBytesToEnd()
        guard !pattern.isEmpty else { throw .malformed }
        return .searchMemory(address, byteCount: byteCount, pattern: pattern)
    }

    private static func writeHeader(
        _ reader: inout BodyReader
    ) throws(PacketError) -> (GuestVirtualAddress, Int) {
        let address = try reader.address()
        try reader.expect(",")
        let byteCount = try reader.count(atMost: PacketLimits.bodyBytesMax)
        try reader.expect(":")
        return (address, byteCount)
    }
}
