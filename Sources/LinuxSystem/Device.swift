import CLinux
import Glibc

/// An open device, for example `/dev/kvm`.
package func openDevice(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    guard isCharacterDevice(path) != false else { throw SystemCallError("open", code: ENODEV) }
    return try .take(unsafe clinux_open(path, O_RDWR), from: "open")
}

/// Whether what is at `path`, behind links too, is a character device; nil where nothing is seen.
package func isCharacterDevice(_ path: String) -> Bool? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    return status.st_mode & S_IFMT == S_IFCHR
}

/// `/dev/null`, for a child's standard input.
package func openNull() throws(SystemCallError) -> OwnedDescriptor {
    try .take(unsafe clinux_open("/dev/null", O_RDWR), from: "open")
}

/// Bytes that a pipe or socket takes without blocking once it is writable at all (PIPE_BUF).
private let unblockedBytesMax = 4096

/// Writes text to standard error; what does not fit is lost, never waited for.
///
/// The descriptor stays as it is, because others share it: each piece is written only when there is
/// room. (A terminal whose emulator stands still can block for the last bytes of its buffer.)
/// - Returns: bytes of UTF-8 that went.
@discardableResult
package func writeToStandardError(_ text: String) -> Int {
    var text = text
    return text.withUTF8 { bytes in
        var written = 0
        while written < bytes.count {
            var room = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
            guard unsafe poll(&room, 1, 0) > 0 else { break }
            let piece = unsafe UnsafeRawBufferPointer(
                rebasing: UnsafeRawBufferPointer(bytes)[written...].prefix(unblockedBytesMax))
            let count = unsafe write(2, piece.baseAddress, piece.count)
            guard count > 0 else { break }
            written += count
        }
        return written
    }
}
