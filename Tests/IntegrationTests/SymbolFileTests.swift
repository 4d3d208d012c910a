import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// The file that a stub is given for its clients.
    @Suite(.serialized)
    struct SymbolFiles {
        /// A sandbox whose processes a test may look into, whoever runs it.
        private func entry(symbols: String? = nil) -> SandboxEntry {
            var entry = SandboxEntry("a", "counter", startup: "run")
            entry.isolation = SandboxEntry.Isolation(profile: "developer")
            entry.symbols = symbols
            return entry
        }

        private func stub(of supervisor: RunningSupervisor, otherThan old: Int32? = nil) throws
            -> Int32
        {
            var found: Int32?
            try Deadline.wait(.seconds(5), for: "a stub") {
                let status = try supervisor.status("a")
                guard let stub = status.stubPID, stub != old, status.debug.state == .listening
                else { return false }
                found = stub
                return true
            }
            return try #require(found)
        }

        private func expectFile(_ stub: Int32, named name: String, content path: String) throws {
            let place = "/proc/\(stub)/fd/7"
            let target = try FileManager.default.destinationOfSymbolicLink(atPath: place)
            #expect(target.hasPrefix("/memfd:\(name)"), "\(target)")
            let content = try Data(contentsOf: URL(fileURLWithPath: place))
            #expect(try content == Data(contentsOf: URL(fileURLWithPath: path)))
            // Not even its owner can write to it.
            let writer = open(place, O_RDWR)
            defer { close(writer) }
            #expect(writer < 0 || write(writer, "x", 1) == -1)
        }

        @Test func `a stub has the guest's own copy, and so has the stub that replaces it`() throws
        {
            try RunningSupervisor.with([entry()]) { supervisor in
                let first = try stub(of: supervisor)
                try expectFile(first, named: "guest-a", content: Machine.guest("counter"))
                kill(first, SIGKILL)
                let second = try stub(of: supervisor, otherThan: first)
                try expectFile(second, named: "guest-a", content: Machine.guest("counter"))
            }
        }

        @Test func `symbols in another file are that file`() throws {
            let symbols = Machine.guest("hello")
            try RunningSupervisor.with([entry(symbols: symbols)]) { supervisor in
                try expectFile(try stub(of: supervisor), named: "symbols-a", content: symbols)
            }
        }

        struct BadFile: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let byteCount: Int?
            let problem: String
        }

        @Test(arguments: [
            BadFile(testDescription: "absent", byteCount: nil, problem: "No such file"),
            BadFile(testDescription: "empty", byteCount: 0, problem: "empty file"),
            BadFile(testDescription: "large", byteCount: 1 << 30 + 1, problem: "above 1 GiB"),
        ])
        func `a symbol file that cannot be had costs a warning and nothing else`(
            _ file: BadFile
        ) throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = folder + "/counter.debug"
            if let byteCount = file.byteCount {
                #expect(FileManager.default.createFile(atPath: path, contents: nil))
                #expect(truncate(path, byteCount) == 0)
            }
            try RunningSupervisor.with([entry(symbols: path)]) { supervisor in
                let record = try supervisor.waitForEvent("a", "debug.symbols")
                #expect(record.level == "warn")
                #expect(record.msg.contains(path) && record.msg.contains(file.problem))
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let stub = try stub(of: supervisor)
                #expect(access("/proc/\(stub)/fd/6", F_OK) == 0)
                #expect(access("/proc/\(stub)/fd/7", F_OK) != 0)
            }
        }
    }
}
