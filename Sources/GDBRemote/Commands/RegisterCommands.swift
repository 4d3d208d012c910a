extension Command {
    /// `g`; any of these may end in lldb's `;thread:ID;`.
    static func readRegisters(_ reader: inout BodyReader) throws(PacketError) -> Command {
        try reader.threadSuffix()
        return .readRegisters
    }

    /// `GHEX`.
    static func writeRegisters(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let bytes = try reader.hexBytes(upTo: ";")
        try reader.threadSuffix()
        return .writeRegisters(bytes)
    }

    /// `pNUMBER`.
    static func readRegister(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let number = try reader.hexNumber()
        try reader.threadSuffix()
        return .readRegister(number)
    }

    /// `PNUMBER=HEX`.
    static func writeRegister(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let number = try reader.hexNumber()
        try reader.expect("=")
        let bytes = try reader.hexBytes(upTo: ";")
        try reader.threadSuffix()
        return .writeRegister(number, bytes)
    }

    /// `SaveRegisterState` and `RestoreRegisterState:NUMBER`, behind the `Q`.
    static func registerState(_ reader: inout BodyReader) throws(PacketError) -> Command? {
        if reader.take(prefix: "SaveRegisterState") {
            try reader.threadSuffix()
            return .saveRegisters
        }
        guard reader.take(prefix: "RestoreRegisterState:") else { return nil }
        // lldb writes this number as it was told it: in decimal.
        let number = try reader.decimalNumber()
        try reader.threadSuffix()
        return .restoreRegisters(number)
    }
}

extension BodyReader {
    /// Nothing, or `;thread:ID;` with our vCPU's number.
    mutating func threadSuffix() throws(PacketError) {
        guard !isAtEnd else { return }
        guard take(prefix: ";thread:") else { throw .malformed }
        let id = try threadID()
        _ = take(";")
        try expectEnd()
        if case .number(let number) = id.thread, number != TargetIdentity.thread {
            throw .noSuchThread
        }
    }
}
