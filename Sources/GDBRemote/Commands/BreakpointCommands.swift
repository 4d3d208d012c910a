import GuestModel

extension Command {
    /// `ZTYPE,ADDRESS,KIND` and `zTYPE,ADDRESS,KIND`.
    ///
    /// KIND is the length of what a watchpoint watches, and means nothing for a breakpoint on x86.
    /// Conditions and commands (`;X...`, `;cmds:...`) are not offered to clients, so they are
    /// errors. Unknown types are unsupported, which makes clients fall back.
    ///
    /// - Source: gdb manual, node "Packets", `z0` to `z4`.
    static func breakpoint(
        _ reader: inout BodyReader, inserts: Bool
    ) throws(PacketError) -> Command {
        let type = try reader.hexNumber()
        try reader.expect(",")
        let address = try reader.address()
        try reader.expect(",")
        let length = try reader.hexNumber()
        try reader.expectEnd()
        if let kind = UInt8(exactly: type).flatMap(BreakpointKind.init(rawValue:)) {
            return inserts ? .insertBreakpoint(kind, address) : .removeBreakpoint(kind, address)
        }
        let kind: WatchKind
        switch type {
        case 2: kind = .write
        case 3: kind = .read
        case 4: kind = .access
        default: return .unsupported
        }
        guard let byteCount = Int(exactly: length),
            let range = GuestVirtualRange(start: address, byteCount: byteCount),
            let watchpoint = Watchpoint(kind, range)
        else { throw .malformed }
        return inserts ? .insertWatchpoint(watchpoint) : .removeWatchpoint(watchpoint)
    }
}
