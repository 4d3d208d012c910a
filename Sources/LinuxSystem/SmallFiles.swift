import CLinux
import Glibc

/// The whole text of a small file such as those of `/proc`, at most 64 KiB of it.
package func readSmallFile(_ path: String) throws(SystemCallError) -> String {
    let file = try OwnedDescriptor.take(unsafe clinux_open(path, O_RDONLY | O_NOCTTY), from: "open")
    var buffer = [UInt8](repeating: 0, count: 65_536)
    var count = 0
    while count < buffer.count {
        let taken = unsafe buffer.withUnsafeMutableBytes {
            unsafe read(file.rawValue, $0.baseAddress?.advanced(by: count), $0.count - count)
        }
        if taken < 0, errno == EINTR { continue }
        guard taken >= 0 else { throw SystemCallError("read", code: errno) }
        guard taken > 0 else { break }
        count += taken
    }
    return String(decoding: buffer.prefix(count), as: UTF8.self)
}

/// Writes a text to a file that exists, in one call, as the files of control groups want it.
package func writeSmallFile(_ path: String, _ text: String) throws(SystemCallError) {
    let file = try OwnedDescriptor.take(unsafe clinux_open(path, O_WRONLY | O_NOCTTY), from: "open")
    var text = text
    let count = text.withUTF8 { unsafe write(file.rawValue, $0.baseAddress, $0.count) }
    guard count >= 0 else { throw SystemCallError("write", code: errno) }
}

/// A file or folder as a place only: nothing can be read or written through it.
package func openPlace(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    try .take(unsafe clinux_open_place(path), from: "open")
}

/// The folders of all files that are mapped into this process: its program and its libraries.
package func mappedFolders() -> Set<String> {
    let lines = (try? readSmallFile("/proc/self/maps"))?.split(separator: "\n") ?? []
    let files = lines.compactMap { line in line.firstIndex(of: "/").map { line[$0...] } }
    return Set(
        files.compactMap { file in file.lastIndex(of: "/").map { String(file[..<$0]) } }
            .filter { !$0.isEmpty })
}

/// Whether this process may write to a file or folder.
package func checkWritable(_ path: String) throws(SystemCallError) {
    guard unsafe access(path, W_OK) == 0 else {
        throw SystemCallError("access \(path)", code: errno)
    }
}

/// The folder that a file is really in, all links followed; nil when it is not there.
package func realFolder(of path: String) -> String? {
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    // SAFETY: the function gives a new string, freed once.
    defer { unsafe free(resolved) }
    let text = unsafe String(cString: resolved)
    return text.lastIndex(of: "/").map { String(text[..<$0]) }
}
