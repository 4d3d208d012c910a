import CLinux
import Glibc

/// Zeroed, page-aligned memory of this process that guests use as their own.
///
/// It is never given back: guest memory lives as long as the worker does.
@safe package struct HostMemory: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let byteCount: Int

    /// Reserves `byteCount` bytes (whole pages); pages cost memory when they are first touched.
    package init(byteCount: Int) throws(SystemCallError) {
        guard let place = unsafe clinux_map_anonymous(byteCount) else {
            throw SystemCallError("mmap of \(byteCount) bytes", code: errno)
        }
        unsafe self.base = place
        self.byteCount = byteCount
    }
}

/// A file's bytes mapped read-only, for a sealed image that nobody can change.
@safe package struct MappedImage: ~Copyable, Sendable {
    private nonisolated(unsafe) let base: UnsafeRawPointer
    package let byteCount: Int

    /// Maps the whole of `descriptor`, which must not be empty.
    package init(_ descriptor: borrowing OwnedDescriptor) throws(SystemCallError) {
        let size = try fileSize(descriptor)
        guard size > 0, let place = unsafe clinux_map_file(descriptor.rawValue, size) else {
            throw SystemCallError("mmap of the guest image", code: size > 0 ? errno : EINVAL)
        }
        unsafe self.base = UnsafeRawPointer(place)
        self.byteCount = size
    }

    /// Gives the memory back here and now.
    package consuming func unmap() {}

    deinit {
        // SAFETY: the mapping of `init`, which nothing outlives: spans of it borrow `self`.
        unsafe _ = munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
    }

    package var bytes: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            // SAFETY: the mapping holds `byteCount` bytes; it is sealed against writes and shrinking.
            let span = unsafe Span<UInt8>(
                _unsafeStart: base.assumingMemoryBound(to: UInt8.self), count: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }
}

/// Bytes in the file behind `descriptor`.
package func fileSize(_ descriptor: borrowing OwnedDescriptor) throws(SystemCallError) -> Int {
    var status = stat()
    guard unsafe fstat(descriptor.rawValue, &status) == 0 else {
        throw SystemCallError("fstat", code: errno)
    }
    return Int(status.st_size)
}
