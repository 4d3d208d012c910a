// GDBRemote: the GDB remote serial protocol as values.
//
// Bytes become packets (`PacketDecoder`), packet bodies become typed commands (`Command`), answers
// become framed bytes (`PacketEncoder`, `StopReply`, `ErrorReply`), and a vCPU's registers become
// the layout that `TargetDescription` promises (`RegisterImage`). Nothing here does input or
// output, knows a guest, or remembers a session: that is SessionCore's part. Start reading with
// `PacketDecoder.swift`, then `Command.swift`.

/// The sizes that the stub and its client agree on.
package enum PacketLimits {
    /// Most bytes in a packet body, as sent, in either direction; `PacketSize` of `qSupported`.
    ///
    /// - Source: gdb manual, node "General Query Packets", `qSupported`.
    package static let bodyBytesMax = 0x20000

    /// Bytes of `$`, `#` and the checksum around a body.
    package static let framingBytes = 4

    /// Most bytes outside of packets between two good ones; those that mean something do not count.
    package static let garbageBytesMax = 0x10000

    /// Most guest bytes in one hex-coded memory reply.
    package static let memoryBytesMax = (bodyBytesMax - 8) / 2

    /// Most bytes of a file in one reply: even if every one of them must be escaped they fit.
    package static let fileBytesMax = (bodyBytesMax - 16) / 2
}
