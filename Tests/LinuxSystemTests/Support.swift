import Glibc
import LinuxSystem

/// A folder that is gone with its content when the test is over.
struct TemporaryFolder: ~Copyable {
    let path: String

    init() throws {
        var template = Array("/tmp/hyperlight-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemCallError("mkdtemp", code: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in (try? namesIn(path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }
}

/// Names of what is in a folder, sorted.
func namesIn(_ path: String) throws -> [String] {
    guard let folder = opendir(path) else { throw SystemCallError("opendir", code: errno) }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// All of a small file.
func textOf(_ path: String) throws -> String {
    let file = OwnedDescriptor(try checked(open(path, O_RDONLY | O_CLOEXEC), "open"))
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = read(file.rawValue, &buffer, buffer.count)
    guard count >= 0 else { throw SystemCallError("read", code: errno) }
    return String(decoding: buffer.prefix(count), as: UTF8.self)
}

/// Writes a new file.
func write(_ text: String, to path: String) throws {
    let file = OwnedDescriptor(
        try checked(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600), "open"))
    let bytes = Array(text.utf8)
    guard write(file.rawValue, bytes, bytes.count) == bytes.count else {
        throw SystemCallError("write", code: errno)
    }
}

/// All text that arrives until the other side ends.
func receiveText(_ socket: borrowing OwnedDescriptor) -> String {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while waitForInput(socket, milliseconds: 10_000) {
        guard case .bytes(let count) = receive(socket, into: &buffer) else { break }
        text += buffer.prefix(count)
    }
    return String(decoding: text, as: UTF8.self)
}

extension SocketPair {
    mutating func takeFirst() throws -> OwnedDescriptor {
        guard let first = first.take() else { throw SystemCallError("socketpair", code: EBADF) }
        return first
    }

    mutating func takeSecond() throws -> OwnedDescriptor {
        guard let second = second.take() else { throw SystemCallError("socketpair", code: EBADF) }
        return second
    }
}
