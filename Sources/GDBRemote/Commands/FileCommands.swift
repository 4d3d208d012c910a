/// What a client asks of the one file that it may read (`vFile`).
///
/// - Source: gdb manual, node "Host I/O Packets".
package enum FileCommand: Hashable, Sendable {
    case setFileSystem
    case open(path: [UInt8], flags: UInt64)
    case status(UInt64)
    case read(UInt64, byteCount: Int, offset: UInt64)
    case close(UInt64)
    /// Whatever would write, remove or follow something.
    case forbidden
}

/// Error numbers of `vFile` replies; they are gdb's own.
///
/// - Source: gdb manual, node "Errno Values".
package enum FileError: UInt64, Sendable {
    case noSuchFile = 2
    case badDescriptor = 9
    case accessDenied = 13
    case notSupported = 88
}

extension Command {
    /// `vFile:OPERATION:...`, behind the first colon.
    static func file(_ reader: inout BodyReader) throws(PacketError) -> Command {
        if reader.take(prefix: "setfs:") {
            _ = try reader.hexNumber()
            try reader.expectEnd()
            return .file(.setFileSystem)
        }
        if reader.take(prefix: "open:") { return .file(try reader.fileOpening()) }
        if reader.take(prefix: "fstat:") { return .file(.status(try reader.wholeNumber())) }
        if reader.take(prefix: "close:") { return .file(.close(try reader.wholeNumber())) }
        if reader.take(prefix: "pread:") {
            let descriptor = try reader.hexNumber()
            try reader.expect(",")
            let byteCount = try reader.count(cutTo: PacketLimits.fileBytesMax)
            try reader.expect(",")
            let offset = try reader.hexNumber()
            try reader.expectEnd()
            return .file(.read(descriptor, byteCount: byteCount, offset: offset))
        }
        let forbidden = ["pwrite:", "unlink:", "readlink:"]
        for name in forbidden where reader.take(prefix: name) { return .file(.forbidden) }
        return .unsupported
    }
}

extension BodyReader {
    /// `HEXPATH,FLAGS,MODE`.
    fileprivate mutating func fileOpening() throws(PacketError) -> FileCommand {
        let path = try hexBytes(upTo: ",")
        try expect(",")
        let flags = try hexNumber()
        try expect(",")
        _ = try hexNumber()
        try expectEnd()
        return .open(path: path, flags: flags)
    }

    fileprivate mutating func wholeNumber() throws(PacketError) -> UInt64 {
        let number = try hexNumber()
        try expectEnd()
        return number
    }
}
