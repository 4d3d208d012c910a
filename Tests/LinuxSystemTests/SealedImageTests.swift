import Glibc
import LinuxSystem
import Testing

@Suite struct SealedImageTests {
    @Test func `an image holds the bytes of its file`() throws {
        let folder = try TemporaryFolder()
        try write("content of a guest", to: "\(folder.path)/guest")
        let image = try SealedImage.make(copying: "\(folder.path)/guest", name: "guest")
        let mapped = try MappedImage(image)
        let bytes = mapped.bytes
        let copy = bytes.indices.map { bytes[$0] }
        #expect(String(decoding: copy, as: UTF8.self) == "content of a guest")
    }

    @Test func `nobody can change an image`() throws {
        let folder = try TemporaryFolder()
        try write("content", to: "\(folder.path)/guest")
        let image = try SealedImage.make(copying: "\(folder.path)/guest", name: "guest")
        let number = image.rawValue
        #expect(pwrite(number, "x", 1, 0) == -1)
        #expect(errno == EPERM)
        #expect(ftruncate(number, 0) == -1)
        #expect(ftruncate(number, 100) == -1)
        let writable = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0)
        #expect(writable == MAP_FAILED)
        #expect(try fileSize(image) == 7)
    }

    @Test func `a later change of the file does not reach the image`() throws {
        let folder = try TemporaryFolder()
        try write("before", to: "\(folder.path)/guest")
        let image = try SealedImage.make(copying: "\(folder.path)/guest", name: "guest")
        try write("after!", to: "\(folder.path)/guest")
        let mapped = try MappedImage(image)
        #expect(mapped.bytes[0] == UInt8(ascii: "b"))
    }

    @Test func `a pipe is refused and not waited for`() throws {
        let folder = try TemporaryFolder()
        #expect(mkfifo("\(folder.path)/fifo", 0o600) == 0)
        expectRefused("\(folder.path)/fifo", EINVAL)
    }

    @Test(arguments: [("/", EINVAL), ("/dev/null", EINVAL), ("/nowhere", ENOENT)])
    func `what is no file is refused`(_ path: String, code: Int32) {
        expectRefused(path, code)
    }

    @Test func `an empty file is refused`() throws {
        let folder = try TemporaryFolder()
        try write("", to: "\(folder.path)/guest")
        expectRefused("\(folder.path)/guest", EINVAL)
    }

    private func expectRefused(_ path: String, _ code: Int32) {
        do {
            _ = try SealedImage.make(copying: path, name: "guest").rawValue
            Issue.record("\(path) was taken")
        } catch {
            #expect(error.code == code)
        }
    }
}
