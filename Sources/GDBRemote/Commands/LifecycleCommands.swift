extension Command {
    /// `?`, `H`, `T`, `D`, `k`, `!`, `R`, behind the letter.
    static func lifecycle(
        _ reader: inout BodyReader, packet: Unicode.Scalar
    ) throws(PacketError) -> Command {
        switch packet {
        case "?": return reader.isAtEnd ? .stopReason : .unsupported
        case "k": return reader.isAtEnd ? .kill(wantsReply: false) : .unsupported
        case "D": return try detach(&reader)
        case "!": return reader.isAtEnd ? .extendedMode : .unsupported
        case "R": return .restart(wantsReply: false)
        case "T": return .isThreadAlive(try reader.wholeThreadID())
        default:
            guard reader.take("g") || reader.take("c") else { return .unsupported }
            return .selectThread(try reader.wholeThreadID())
        }
    }

    /// `D`, `D;PROCESS`, and lldb's `D1` and `D1;PROCESS`, which leave the guest halted.
    private static func detach(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let staysStopped = reader.take("1")
        let process = reader.take(";") ? try reader.hexNumber() : nil
        try reader.expectEnd()
        return .detach(process: process, staysStopped: staysStopped)
    }
}

extension BodyReader {
    /// A thread-id with nothing behind it.
    mutating func wholeThreadID() throws(PacketError) -> ThreadID {
        let id = try threadID()
        guard isAtEnd else { throw .noSuchThread }
        return id
    }
}
