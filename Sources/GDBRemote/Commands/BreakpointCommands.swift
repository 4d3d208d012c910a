import GuestModel

extension Command {
    /// `ZTYPE,ADDRESS,KIND` and `zTYPE,ADDRESS,KIND`.
    ///
    /// Conditions and commands (`;X...`, `;cmds:...`) are not offered to clients, so they are
    /// errors. Types without a `BreakpointKind` are unsupported, which makes clients fall back.
    static func breakpoint(
        _ reader: inout BodyReader, inserts: Bool
    ) throws(PacketError) -> Command {
        let type = try reader.hexNumber()
        try reader.expect(",")
        let address = try reader.address()
        try reader.expect(",")
        _ = try reader.hexNumber()
        try reader.expectEnd()
        guard let kind = UInt8(exactly: type).flatMap(BreakpointKind.init(rawValue:)) else {
            return .unsupported
        }
        return inserts ? .insertBreakpoint(kind, address) : .removeBreakpoint(kind, address)
    }
}
