extension PacketEncoder {
    /// Frames `F` and a number: a descriptor, or 0 for done.
    package mutating func packet(fileResult number: UInt64) {
        start()
        append("F")
        append(number: number)
        finish()
    }

    package mutating func packet(_ error: FileError) {
        start()
        append("F-1,")
        append(number: error.rawValue)
        finish()
    }

    /// Frames a piece of a file; at most `PacketLimits.fileBytesMax` bytes fit for sure.
    package mutating func packet(fileContent: Span<UInt8>) {
        start()
        append("F")
        append(number: UInt64(fileContent.count))
        append(";")
        append(escaping: fileContent)
        finish()
    }

    /// Frames the status of a file that everybody may read and nobody may write.
    ///
    /// - Source: gdb manual, node "struct stat" of the File-I/O protocol: all fields big-endian.
    package mutating func packet(fileStatus byteCount: UInt64) {
        var status: [UInt8] = []
        func put(_ value: UInt64, _ width: Int) {
            for index in (0..<width).reversed() {
                status.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index)))
            }
        }
        // dev, ino, mode (a regular file, r--r--r--), nlink, uid, gid, rdev
        for value: UInt64 in [0, 1, 0o100444, 1, 0, 0, 0] { put(value, 4) }
        // size, blksize, blocks
        for value in [byteCount, 4096, byteCount / 512] { put(value, 8) }
        // atime, mtime, ctime
        for _ in 0..<3 { put(0, 4) }
        start()
        append("F")
        append(number: UInt64(status.count))
        append(";")
        append(escaping: status.span)
        finish()
    }
}
