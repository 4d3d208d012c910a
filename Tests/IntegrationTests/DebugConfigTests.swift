import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// The files of `hyperlight-ctl debug-config`, and the debuggers that read them.
    @Suite(.serialized)
    struct DebugConfigs {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        /// A counter that waits for its debugger, and a folder for files.
        private func withCounter(
            port: UInt16?, _ body: (RunningSupervisor, _ folder: String) throws -> Void
        ) throws {
            let entry = SandboxEntry("a", "counter", port: port, startup: "wait")
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                try body(supervisor, folder)
            }
        }

        private func write(_ supervisor: RunningSupervisor, _ kind: String, _ folder: String)
            throws -> String
        {
            let (ending, text) = try supervisor.control([
                "debug-config", "a", kind, "--write", folder,
            ])
            #expect(ending == .exit(0), "\(text)")
            return text.trimmingCharacters(in: .whitespacesAndNewlines)
        }

        @Test(arguments: [true, false])
        func `gdb runs its file, with a port and without`(_ hasPort: Bool) throws {
            let port = hasPort ? try RunningSupervisor.freePort() : nil
            try withCounter(port: port) { supervisor, folder in
                let path = try write(supervisor, "--gdb", folder)
                #expect(path == folder + "/a.gdb")
                let gdb = try RunningProgram(
                    "gdb",
                    GDB.quiet + [
                        "-batch", "-x", path, "-ex", "break tick", "-ex", "continue", "-ex", "bt",
                        "-ex", "detach",
                    ])
                defer { gdb.end() }
                try #expect(gdb.waitForEnd(.seconds(20)) == .exit(0))
                _ = gdb.output.waitForEnd(.seconds(5))
                #expect(gdb.output.text.contains("Breakpoint 1, tick ()"), "\(gdb.output.text)")
                #expect(gdb.output.text.contains("in guest_main ()"), "\(gdb.output.text)")
                try supervisor.expectTicking("a", counter)
            }
        }

        /// The parts of a launch file that a debug adapter hands to gdb.
        private struct Launch: Decodable {
            struct Entry: Decodable {
                let type: String
                let program: String?
                let miDebuggerPath: String?
                let miDebuggerServerAddress: String?
                let processCreateCommands: [String]?
            }
            let configurations: [Entry]
        }

        @Test(arguments: [true, false])
        func `gdb's machine interface attaches with what the launch file says`(
            _ hasPort: Bool
        ) throws {
            let port = hasPort ? try RunningSupervisor.freePort() : nil
            try withCounter(port: port) { supervisor, folder in
                let path = try write(supervisor, "--vscode", folder)
                #expect(path == folder + "/.vscode/launch.json")
                let launch = try JSONDecoder().decode(
                    Launch.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
                #expect(
                    launch.configurations.map(\.type)
                        == (hasPort ? ["cppdbg", "lldb"] : ["cppdbg"])
                )
                let entry = try #require(launch.configurations.first)
                let program = try #require(entry.program)
                let address = try #require(entry.miDebuggerServerAddress)
                if let port {
                    #expect(address == "127.0.0.1:\(port)")
                    #expect(
                        launch.configurations[1].processCreateCommands == ["gdb-remote \(address)"])
                }
                // As the adapter does it.
                let gdb = try RunningProgram(
                    try #require(entry.miDebuggerPath), ["--interpreter=mi", "-nx", "-q"])
                defer { gdb.end() }
                for line in [
                    "-gdb-set target-async on", "-file-exec-and-symbols \(program)",
                    "-target-select remote \(address)", "-break-insert -f tick", "-exec-continue",
                ] {
                    gdb.write(line)
                }
                let hit = gdb.output.wait(until: .after(.seconds(20))) { bytes -> Bool? in
                    let text = String(decoding: bytes, as: UTF8.self)
                    return text.contains(#"reason="breakpoint-hit""#) ? true : nil
                }
                #expect(hit == true, "\(gdb.output.text)")
                gdb.write("-target-detach")
                gdb.write("-gdb-exit")
                try #expect(gdb.waitForEnd(.seconds(10)) == .exit(0))
                try supervisor.expectTicking("a", counter)
            }
        }

        /// An lldb that is no part of this system's needs.
        private static let lldb: String? = {
            let names = (14...22).reversed().map { "/usr/bin/lldb-\($0)" } + ["/usr/bin/lldb"]
            return names.first { FileManager.default.isExecutableFile(atPath: $0) }
        }()

        @Test(.enabled(if: lldb != nil, "no lldb is installed"))
        func `lldb runs its file`() throws {
            try withCounter(port: try RunningSupervisor.freePort()) { supervisor, folder in
                let path = try write(supervisor, "--lldb", folder)
                #expect(path == folder + "/a.lldb")
                let lldb = try RunningProgram(
                    try #require(Self.lldb),
                    ["--no-lldbinit", "-b", "-s", path, "-o", "register read rip", "-o", "detach"])
                defer { lldb.end() }
                try lldb.waitForEnd(.seconds(30))
                _ = lldb.output.waitForEnd(.seconds(5))
                let text = lldb.output.text
                #expect(text.contains("Process \(4_194_305) stopped"), "\(text)")
                let entry = String(counter.entry, radix: 16)
                #expect(text.contains("rip = 0x0000000000\(entry)"), "\(text)")
                try supervisor.waitForEvent("a", "debug.attached", containing: "127.0.0.1:")
                try supervisor.waitForEvent("a", "debug.detached")
            }
        }

        @Test func `a file that is there is left alone, and the text printed`() throws {
            try withCounter(port: try RunningSupervisor.freePort()) { supervisor, folder in
                for kind in ["--vscode", "--gdb", "--lldb"] {
                    let path = try write(supervisor, kind, folder)
                    let text = try String(contentsOfFile: path, encoding: .utf8)
                    try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
                    let (ending, output) = try supervisor.control([
                        "debug-config", "a", kind, "--write", folder,
                    ])
                    #expect(ending == .exit(73))
                    #expect(output.contains(text), "\(output)")
                    #expect(output.contains("is there already"), "\(output)")
                    try #expect(String(contentsOfFile: path, encoding: .utf8) == "mine")
                    // Without a folder it is the same text, and nothing else.
                    let (_, printed) = try supervisor.control(["debug-config", "a", kind])
                    #expect(printed == text)
                }
            }
        }

        @Test func `what cannot be answered has an exit code of its own`() throws {
            try withCounter(port: nil) { supervisor, folder in
                for (words, code) in [
                    (["a", "--lldb"], Int32(69)), (["a"], 64), (["a", "--gdb", "--lldb"], 64),
                    (["ghost", "--gdb"], 4), (["a", "--gdb", "--write", folder + "/none"], 73),
                ] {
                    let (ending, text) = try supervisor.control(["debug-config"] + words)
                    #expect(ending == .exit(code), "\(words): \(text)")
                }
                let (_, text) = try supervisor.control(["debug-config", "a", "--lldb"])
                #expect(text.contains("set debug.port"), "\(text)")
            }
        }
    }
}
