import CLinux
import Glibc
import LinuxSystem
import Testing

@Suite struct SealedFileTests {
    private static let text = "content of a symbol file"

    /// A sealed copy of a file with that text, taken over by its number as a child does.
    private func sealedFile() throws -> SealedFile {
        let folder = try TemporaryFolder()
        try write(Self.text, to: "\(folder.path)/symbols")
        let image = try SealedImage.make(copying: "\(folder.path)/symbols", name: "symbols")
        let number = image.release()
        guard let file = SealedFile(inherited: number) else {
            close(number)
            throw SystemCallError("a sealed file was refused", code: EINVAL)
        }
        return file
    }

    struct Reading: Sendable, CustomTestStringConvertible {
        let offset: UInt64
        let limit: Int
        let text: String

        var testDescription: String { "\(limit) bytes at \(offset)" }
    }

    @Test(arguments: [
        Reading(offset: 0, limit: 7, text: "content"),
        Reading(offset: 11, limit: 1, text: "a"),
        Reading(offset: 13, limit: 11, text: "symbol file"),
        Reading(offset: 13, limit: 4096, text: "symbol file"),
        Reading(offset: 0, limit: .max, text: text),
        Reading(offset: 23, limit: 1, text: "e"),
        Reading(offset: 24, limit: 1, text: ""),
        Reading(offset: 25, limit: 1, text: ""),
        Reading(offset: UInt64(Int.max), limit: .max, text: ""),
        Reading(offset: .max, limit: .max, text: ""),
        Reading(offset: 0, limit: 0, text: ""),
        Reading(offset: 0, limit: -1, text: ""),
    ])
    func `reading gives what is there and no more`(_ reading: Reading) throws {
        let file = try sealedFile()
        let bytes = try file.read(at: reading.offset, limit: reading.limit)
        #expect(String(decoding: bytes, as: UTF8.self) == reading.text)
    }

    @Test func `the size is that of the file`() throws {
        let file = try sealedFile()
        #expect(file.byteCount == 24)
    }

    @Test func `what somebody could still write is no sealed file, and is left alone`() throws {
        let folder = try TemporaryFolder()
        try write(Self.text, to: "\(folder.path)/symbols")
        let plain = OwnedDescriptor(open("\(folder.path)/symbols", O_RDONLY))
        let unsealed = OwnedDescriptor(clinux_memfd_create("symbols"))
        let null = OwnedDescriptor(open("/dev/null", O_RDONLY))
        for number in [plain.rawValue, unsealed.rawValue, null.rawValue] {
            try #require(number >= 0)
            let isTaken = SealedFile(inherited: number) != nil
            #expect(!isTaken)
            #expect(fcntl(number, F_GETFD) >= 0)
        }
    }

    @Test func `a number behind which nothing is gives nothing`() {
        let isTaken = SealedFile(inherited: 900) != nil
        #expect(!isTaken)
    }

    @Test func `two names of one file are one file`() throws {
        let folder = try TemporaryFolder()
        try write("a", to: "\(folder.path)/one")
        try write("a", to: "\(folder.path)/two")
        #expect(symlink("one", "\(folder.path)/link") == 0)
        #expect(link("\(folder.path)/one", "\(folder.path)/hard") == 0)
        func isSame(_ first: String, _ second: String) -> Bool {
            SealedImage.isSameFile("\(folder.path)/\(first)", "\(folder.path)/\(second)")
        }
        #expect(isSame("one", "one") && isSame("one", "link") && isSame("hard", "one"))
        #expect(!isSame("one", "two") && !isSame("one", "absent") && !isSame("absent", "one"))
    }
}
