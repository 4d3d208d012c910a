import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Configuration files and guest images that are wrong.
    @Suite(.serialized)
    struct BadFiles {
        /// A configuration's text and what must be said about it.
        struct Mistake: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let text: String
            /// Where the mistake stands, as `LINE:COLUMN`.
            let place: String
            let words: [String]

            init(_ name: String, _ text: String, _ place: String, _ words: String...) {
                testDescription = name
                self.text = text
                self.place = place
                self.words = words
            }
        }

        private static func one(_ fields: String) -> String {
            "{\"version\":1,\"sandboxes\":[\n{\"name\":\"a\",\"guest\":\"g\",\(fields)}]}"
        }

        static let mistakes = [
            Mistake("wrong type", one("\"enabled\":\"yes\""), "2:35", "sandboxes[0].enabled"),
            Mistake(
                "port out of range", one("\"debug\":{\"port\":99999}"), "2:41",
                "sandboxes[0].debug.port", "99999", "65535"),
            Mistake(
                "unknown key with a near miss", one("\"modee\":\"serve\""), "2:25",
                "sandboxes[0].modee", "unknown key", "did you mean \"mode\""),
            Mistake("duplicate key", one("\"abi\":\"bare\",\"abi\":\"bare\""), "2:38", "abi"),
            Mistake("not JSON", "{\"version\":1,,}", "1:14", "error"),
            Mistake(
                "nested deeply",
                "{\"version\":1,\"sandboxes\":\n"
                    + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
                    + "}",
                "2:", "error"),
        ]

        private func check(_ path: String, _ arguments: [String] = []) throws -> (Int32, String) {
            let program = try RunningProgram(
                Machine.program("hyperlight-supervisor"), ["--config", path] + arguments)
            defer { program.end() }
            let ending = try program.waitForEnd(.seconds(20))
            _ = program.output.waitForEnd(.seconds(5))
            guard case .exit(let code) = ending else {
                throw HarnessError("the supervisor died: \(ending)\n\(program.output.text)")
            }
            return (code, program.output.text)
        }

        @Test(arguments: mistakes, [true, false])
        func `F18: a mistake ends with its place, the reason and exit code 78`(
            mistake: Mistake, checksOnly: Bool
        ) throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = folder + "/bad.json"
            try mistake.text.write(toFile: path, atomically: true, encoding: .utf8)
            let extra = checksOnly ? ["--check"] : ["--socket", folder + "/c.sock"]
            let (code, text) = try check(path, extra)
            #expect(code == 78)
            #expect(text.contains("bad.json:\(mistake.place)"), "\(text)")
            for word in mistake.words { #expect(text.contains(word), "\(text)") }
            #expect(text.utf8.count < 20000)
            print("F18:", mistake.testDescription, "at", mistake.place, "- exit code", code)
        }

        @Test
        func `F18: a file of 100 MB is refused at once`() throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = folder + "/big.json"
            #expect(FileManager.default.createFile(atPath: path, contents: Data()))
            #expect(truncate(path, 100_000_000) == 0)
            let start = ContinuousClock.now
            let (code, text) = try check(path)
            let milliseconds = (ContinuousClock.now - start) / .milliseconds(1)
            print("F18: a file of 100 MB is refused after", [milliseconds].text, "ms")
            #expect(code == 78 && milliseconds < 2000)
            #expect(text.contains("big.json") && text.contains("error"), "\(text)")
        }

        @Test
        func `all mistakes are told, sorted by place`() throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = folder + "/bad.json"
            try """
            {
              "version": 2,
              "sandboxes": [
                { "name": "Upper", "guest": "g" },
                { "name": "b", "guest": "g", "memory": { "heap": "1MB" } }
              ]
            }
            """.write(toFile: path, atomically: true, encoding: .utf8)
            let (code, text) = try check(path, ["--check"])
            #expect(code == 78)
            let lines = text.split(separator: "\n").filter { $0.contains(": error: ") }
            let numbers = lines.compactMap { line -> Int? in
                line.firstMatch(of: #/bad\.json:(\d+):\d+: error: /#).flatMap { Int($0.1) }
            }
            #expect(numbers == [2, 4, 5], "\(text)")
        }

        @Test
        func `a missing file ends with exit code 66`() throws {
            let (code, text) = try check("/nonexistent/sandboxes.json")
            #expect(code == 66)
            #expect(text.contains("/nonexistent/sandboxes.json"))
        }

        @Test(arguments: ["guest", "symbols"])
        func `a file that the configuration names and nobody can open ends the check with 66`(
            key: String
        ) throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = folder + "/named.json"
            var entry = SandboxEntry("a", "counter", port: try RunningSupervisor.freePort())
            if key == "guest" {
                entry.guest = "/nonexistent/guest"
            } else {
                entry.symbols = "/nonexistent/symbols"
            }
            try RunningSupervisor.configuration([entry]).write(to: URL(fileURLWithPath: path))
            let (code, text) = try check(path, ["--check"])
            #expect(code == 66, "\(text)")
            #expect(text.contains("/nonexistent/\(key)"), "\(text)")
        }

        @Test
        func `a good file passes the check and starts nothing`() throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let path = folder + "/good.json"
            let entry = SandboxEntry("a", "counter", port: try RunningSupervisor.freePort())
            try RunningSupervisor.configuration([entry]).write(to: URL(fileURLWithPath: path))
            let (code, text) = try check(path, ["--check"])
            #expect(code == 0, "\(text)")
        }

        // MARK: - Guest images

        @Test
        func `F19: broken guests fail with a reason each while the good one runs`() throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let broken = BrokenGuest.allCases
            var entries = try broken.map { guest in
                let path = folder + "/" + guest.rawValue
                try Data(guest.bytes).write(to: URL(fileURLWithPath: path))
                var entry = SandboxEntry(guest.rawValue, path)
                entry.abi = guest.abi
                return entry
            }
            entries.append(SandboxEntry("missing", folder + "/nothing-here"))
            entries.append(SandboxEntry("good", "counter", startup: "run"))
            let counter = try GuestImage.named("counter")
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("good", "sandbox.state", containing: "-> running")
                for guest in broken {
                    let line = try supervisor.waitForEvent(
                        guest.rawValue, "sandbox.state", containing: "-> failed")
                    #expect(line.level == "error")
                    #expect(!line.msg.contains("signal"), "\(line.msg)")
                    for word in guest.reason { #expect(line.msg.contains(word), "\(line.msg)") }
                }
                try supervisor.waitForEvent("missing", "sandbox.state", containing: "nothing-here")
                // A guest that cannot be run today cannot be run in a moment either.
                for guest in broken {
                    let status = try supervisor.status(guest.rawValue)
                    #expect(status.state == .failed && status.restarts == 0)
                }
                print("F19:", broken.count, "broken guests failed, none was tried again")
                try supervisor.expectTicking("good", counter)
                // The debugger that looked has just left; running is reported when it has lasted.
                try supervisor.waitForEvent("good", "debug.detached")
                try Deadline.wait(.seconds(5), for: "the good guest to run again") {
                    try supervisor.status("good").state == .running
                }
            }
        }
    }
}
