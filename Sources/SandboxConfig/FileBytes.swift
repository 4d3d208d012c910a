import Glibc

/// Why a file's bytes could not be had.
struct FileFailure: Error {
    let code: ConfigProblem.Code
    let message: String

    /// The file is there and readable, but no configuration.
    var isContentProblem: Bool { code == .tooLarge }

    static func tooLargeText(_ byteCountMax: Int) -> String {
        "larger than \(byteCountMax) bytes, the most a configuration may have"
    }
}

/// The content of a regular file of limited size.
struct FileBytes {
    let bytes: [UInt8]
    /// The folder the file lies in, links resolved.
    let folder: String

    /// Opens, looks at kind and size, and only then reads.
    static func read(path: String, byteCountMax: Int) -> Result<FileBytes, FileFailure> {
        // O_NONBLOCK: opening a FIFO without a writer must not hang. Regular files ignore it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { return .failure(openFailure(errno)) }
        defer { close(descriptor) }

        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .failure(unreadable(errno)) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: return .failure(FileFailure(code: .unreadable, message: "is a folder"))
        default: return .failure(FileFailure(code: .unreadable, message: "not a regular file"))
        }
        guard status.st_size <= byteCountMax else {
            let text = FileFailure.tooLargeText(byteCountMax)
            return .failure(FileFailure(code: .tooLarge, message: text))
        }
        guard let folder = folder(of: path) else { return .failure(unreadable(errno)) }
        return readAll(descriptor, byteCountMax: byteCountMax)
            .map { FileBytes(bytes: $0, folder: folder) }
    }

    /// Reads to the end; a file that grew past the limit meanwhile is refused too.
    private static func readAll(
        _ descriptor: Int32, byteCountMax: Int
    ) -> Result<[UInt8], FileFailure> {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return .success(bytes) }
            if count < 0 {
                if errno == EINTR { continue }
                return .failure(unreadable(errno))
            }
            bytes.append(contentsOf: chunk.prefix(count))
            guard bytes.count <= byteCountMax else {
                let text = FileFailure.tooLargeText(byteCountMax)
                return .failure(FileFailure(code: .tooLarge, message: text))
            }
        }
    }

    private static func folder(of path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        let text = String(cString: resolved)
        guard let slash = text.lastIndex(of: "/"), slash != text.startIndex else { return "/" }
        return String(text[..<slash])
    }

    private static func openFailure(_ code: Int32) -> FileFailure {
        code == ENOENT || code == ENOTDIR
            ? FileFailure(code: .notFound, message: "no such file") : unreadable(code)
    }

    private static func unreadable(_ code: Int32) -> FileFailure {
        FileFailure(
            code: .unreadable, message: "cannot be read: " + String(cString: strerror(code)))
    }
}
