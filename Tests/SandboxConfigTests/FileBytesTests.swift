import Glibc
import SandboxConfig
import Testing

/// A folder of its own that is removed with its content.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/sandboxconfig.XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in ["f.json", "link.json"] { unlink(path + "/" + name) }
        rmdir(path)
    }

    func write(_ text: String, to name: String) throws {
        let descriptor = open(path + "/" + name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o600)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        try #require(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
    }
}

struct FileBytesTests {
    @Test func `a missing file has its own outcome`() throws {
        let folder = try TemporaryFolder()
        let report = SandboxFile.load(path: folder.path + "/f.json")
        #expect(report.outcome == .notReadable)
        #expect(report.outcome.rawValue == 66)
        #expect(report.problems.map(\.code) == [.notFound])
        #expect(
            report.text == "\(folder.path)/f.json:1:1: error: no such file\n"
                + "1 error; nothing was started\n")
    }

    @Test func `a folder is refused`() throws {
        let folder = try TemporaryFolder()
        let report = SandboxFile.load(path: folder.path)
        #expect(report.outcome == .notReadable)
        #expect(report.problems.map(\.message) == ["is a folder"])
    }

    @Test func `a pipe without a writer is refused and not waited for`() throws {
        let folder = try TemporaryFolder()
        try #require(mkfifo(folder.path + "/f.json", 0o600) == 0)
        let report = SandboxFile.load(path: folder.path + "/f.json")
        #expect(report.problems.map(\.message) == ["not a regular file"])
    }

    @Test func `a file of 100 MB is refused before it is read`() throws {
        let folder = try TemporaryFolder()
        try folder.write("{}", to: "f.json")
        try #require(truncate(folder.path + "/f.json", 100 << 20) == 0)
        let clock = ContinuousClock()
        let start = clock.now
        let report = SandboxFile.load(path: folder.path + "/f.json")
        #expect(clock.now - start < .milliseconds(100))
        #expect(report.outcome == .invalid)
        #expect(report.problems.map(\.code) == [.tooLarge])
    }

    @Test func `an endless device is refused`() {
        #expect(SandboxFile.load(path: "/dev/zero").problems.map(\.code) == [.unreadable])
    }

    @Test func `relative paths are taken from the folder a link points to`() throws {
        let real = try TemporaryFolder()
        let other = try TemporaryFolder()
        try real.write(
            #"{"version":1,"sandboxes":[{"name":"a","guest":"g/a"}]}"#, to: "f.json")
        try #require(symlink(real.path + "/f.json", other.path + "/link.json") == 0)
        let report = SandboxFile.load(path: other.path + "/link.json")
        #expect(report.configuration?.sandboxes.map(\.guestPath) == [real.path + "/g/a"])
    }
}
