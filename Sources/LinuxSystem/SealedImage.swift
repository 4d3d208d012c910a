import CLinux
import Glibc

/// Copies of files into sealed memory, so that nobody can change an image while it is used.
package enum SealedImage {
    /// The largest file taken, in bytes.
    package static let byteCountMax = 1 << 30

    /// Opens the regular file at `path` and copies it into a sealed memfd named `name`.
    ///
    /// Nothing of the content is looked at.
    package static func make(copying path: String, name: String) throws(SystemCallError)
        -> OwnedDescriptor
    {
        let file = try open(path)
        let image = try OwnedDescriptor.take(unsafe clinux_memfd_create(name), from: "memfd_create")
        try copy(from: file, to: image, byteCount: try fileSize(file))
        try checked(clinux_seal(image.rawValue), "F_ADD_SEALS")
        return image
    }

    /// Does all that `make` does short of copying, to learn whether it would work.
    package static func check(_ path: String) throws(SystemCallError) {
        _ = try open(path).rawValue
    }

    /// Whether two paths lead to one file at this moment; false when that cannot be known.
    package static func isSameFile(_ path: String, _ other: String) -> Bool {
        guard path != other else { return true }
        var (first, second) = (stat(), stat())
        guard unsafe stat(path, &first) == 0, unsafe stat(other, &second) == 0 else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    private static func open(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
        let file = try OwnedDescriptor.take(
            unsafe clinux_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY), from: "open")
        var status = stat()
        guard unsafe fstat(file.rawValue, &status) == 0 else {
            throw SystemCallError("fstat", code: errno)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw SystemCallError("open of something that is not a file", code: EINVAL)
        }
        guard status.st_size > 0 else {
            throw SystemCallError("open of an empty file", code: EINVAL)
        }
        guard status.st_size <= byteCountMax else {
            throw SystemCallError("open of a file above 1 GiB", code: EFBIG)
        }
        return file
    }

    private static func copy(
        from file: borrowing OwnedDescriptor, to image: borrowing OwnedDescriptor, byteCount: Int
    ) throws(SystemCallError) {
        var left = byteCount
        while left > 0 {
            let count = sendfile(image.rawValue, file.rawValue, nil, left)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemCallError("sendfile", code: errno) }
            // The file became shorter while it was read: take what there is, as a reader would.
            guard count > 0 else { return }
            left -= count
        }
    }
}
