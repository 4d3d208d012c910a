import CLinux
import Glibc

/// A file in sealed memory, read at any place; neither its bytes nor their number can change.
package struct SealedFile: ~Copyable, Sendable {
    package let byteCount: Int
    private let descriptor: OwnedDescriptor

    /// The sealed file at `number`, which belongs to nobody yet; nil when something else is there, or
    /// nothing, and `number` is left alone then.
    ///
    /// It asks for the size here and never again, so that a process which confines itself afterwards
    /// needs `pread64` alone.
    /// - Source: Linux manual pages memfd_create(2), fcntl(2) "File Sealing".
    package init?(inherited number: Int32) {
        var status = stat()
        guard clinux_is_sealed(number) == 1, unsafe fstat(number, &status) == 0 else { return nil }
        byteCount = Int(status.st_size)
        descriptor = OwnedDescriptor(number)
    }

    /// At most `limit` bytes from `offset` on; fewer at the end, and none behind it.
    ///
    /// The caller decides how much memory that may take.
    package borrowing func read(
        at offset: UInt64, limit: Int
    ) throws(SystemCallError) -> [UInt8] {
        guard limit > 0, let start = Int(exactly: offset), start < byteCount else { return [] }
        var bytes = [UInt8](repeating: 0, count: min(limit, byteCount - start))
        var count = 0
        while count < bytes.count {
            let taken = unsafe bytes.withUnsafeMutableBytes { buffer in
                // SAFETY: the rest of the array, which lives as long as this call.
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                return unsafe pread(
                    descriptor.rawValue, rest.baseAddress, rest.count, start + count)
            }
            if taken < 0, errno == EINTR { continue }
            guard taken >= 0 else { throw SystemCallError("pread", code: errno) }
            // The seals make that impossible, and a loop that cannot end would be worse.
            guard taken > 0 else { return Array(bytes.prefix(count)) }
            count += taken
        }
        return bytes
    }
}
