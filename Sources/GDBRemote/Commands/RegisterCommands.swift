extension Command {
    /// `g`.
    static func readRegisters(_ reader: inout BodyReader) throws(PacketError) -> Command {
        try reader.expectEnd()
        return .readRegisters
    }

    /// `pNUMBER`.
    static func readRegister(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let number = try reader.hexNumber()
        try reader.expectEnd()
        return .readRegister(number)
    }

    /// `PNUMBER=HEX`.
    static func writeRegister(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let number = try reader.hexNumber()
        try reader.expect("=")
        return .writeRegister(number, try reader.hexBytesToEnd())
    }
}
