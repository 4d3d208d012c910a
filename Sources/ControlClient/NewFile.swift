import Glibc

/// Writing files that were not there before.
enum NewFile {
    /// Writes `text` to `path` below `folder`, which must exist; a folder between them is made.
    ///
    /// - Returns: The whole path.
    /// - Throws: `Failure.fileExists`, with nothing changed, or `Failure.cannotCreate`.
    static func write(_ text: String, to path: String, below folder: String) throws(Failure)
        -> String
    {
        let whole = (folder.hasSuffix("/") ? folder : folder + "/") + path
        if let slash = path.lastIndex(of: "/") {
            let between = whole.dropLast(path[slash...].utf8.count)
            guard mkdir(String(between), 0o777) == 0 || errno == EEXIST else {
                throw .cannotCreate(String(between), String(cString: strerror(errno)))
            }
        }
        // Never opens what is there, not even through a link.
        let file = open(whole, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard file >= 0 else {
            guard errno == EEXIST else {
                throw .cannotCreate(whole, String(cString: strerror(errno)))
            }
            throw .fileExists(whole)
        }
        defer { close(file) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let code = errno
                unlink(whole)
                throw .cannotCreate(whole, String(cString: strerror(code)))
            }
            rest = rest.dropFirst(count)
        }
        return whole
    }
}
