import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Odd ways to start the supervisor, and to treat it while it runs.
    @Suite(.serialized)
    struct SupervisorUnderAttack {
        /// Waits by control socket, because the log may go nowhere.
        private func waitForRunning(_ supervisor: RunningSupervisor, _ name: String = "a") throws {
            try Deadline.wait(.seconds(10), for: "\(name) to run") {
                (try? supervisor.status(name).state) == .running
            }
        }

        private func expectEnd(_ supervisor: RunningSupervisor, _ duration: Duration) throws {
            let children = supervisor.children
            supervisor.program.signal(SIGTERM)
            try #expect(supervisor.program.waitForEnd(duration) == .exit(0))
            #expect(!children.contains(where: processLives))
        }

        /// A shell that becomes the supervisor after this.
        private func shell(_ prelude: String, _ redirection: String = "") -> [String] {
            ["/bin/sh", "-c", "\(prelude); exec \"$0\" \"$@\" \(redirection)"]
        }

        @Test
        func `F26: a standard error that is full and never read delays nothing`() throws {
            let pipe = try UnreadPipe()
            let entry = SandboxEntry("a", "tests/flood")
            try RunningSupervisor.with([entry], starter: shell(":", "2>'\(pipe.path)'")) {
                supervisor in
                try waitForRunning(supervisor)
                try expectEnd(supervisor, .seconds(10))
            }
        }

        @Test
        func `F26: records that nobody read are counted, and told when somebody reads`() throws {
            let pipe = try UnreadPipe()
            let entry = SandboxEntry("a", "tests/flood")
            try RunningSupervisor.with([entry], starter: shell(":", "2>'\(pipe.path)'")) {
                supervisor in
                try waitForRunning(supervisor)
                let text = try #require(pipe.read(until: "nobody read them", .seconds(5)))
                let match = try #require(text.firstMatch(of: #/(\d+) records: nobody read them/#))
                let count = try #require(Int(match.1))
                print("F26:", count, "records were dropped while nobody read")
                #expect(count > 0 && text.contains("log.dropped"))
                try expectEnd(supervisor, .seconds(10))
            }
        }

        @Test
        func `F26: a standard error that broke kills nobody`() throws {
            let pipe = try UnreadPipe()
            let entry = SandboxEntry("a", "tests/flood")
            try RunningSupervisor.with([entry], starter: shell(":", "2>'\(pipe.path)'")) {
                supervisor in
                try waitForRunning(supervisor)
                pipe.breakOff()
                try supervisor.waitForWork("a") {}
                try #expect(supervisor.status("a").state == .running)
                try expectEnd(supervisor, .seconds(10))
            }
        }

        @Test(
            .enabled(if: getuid() == 0, "only root may look at a supervisor's descriptors"),
            arguments: ["2>&-", "<&- >&- 2>&-", "<&-", ">&-"])
        func `descriptors that are closed at the start become /dev/null`(closed: String) throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry], starter: shell(":", closed)) { supervisor in
                try waitForRunning(supervisor)
                let id = supervisor.program.processID
                let targets = try (0...2).map {
                    try FileManager.default.destinationOfSymbolicLink(
                        atPath: "/proc/\(id)/fd/\($0)")
                }
                for target in targets {
                    #expect(target == "/dev/null" || target.hasPrefix("pipe:"), "\(targets)")
                }
                #expect(targets.contains("/dev/null"))
                try expectEnd(supervisor, .seconds(10))
            }
        }

        @Test
        func `a starter that ignores SIGCHLD hides no death`() throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry], starter: shell("trap '' CHLD")) { supervisor in
                try waitForRunning(supervisor)
                let worker = try #require(try supervisor.status("a").workerPID)
                kill(worker, SIGKILL)
                try supervisor.waitForEvent("a", "worker.exited", containing: "signal 9")
                try expectEnd(supervisor, .seconds(10))
            }
        }

        @Test
        func `a second SIGTERM ends at once what does not want to end`() throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try waitForRunning(supervisor)
                let children = supervisor.children
                #expect(children.count == 2)
                for child in children { kill(child, SIGSTOP) }
                supervisor.program.signal(SIGTERM)
                _ = try supervisor.waitForRecord("the first order", .seconds(5)) {
                    $0.event == "supervisor.stopping"
                }
                supervisor.program.signal(SIGTERM)
                try #expect(supervisor.program.waitForEnd(.seconds(2)) == .exit(0))
                #expect(!children.contains(where: processLives))
            }
        }

        @Test
        func `a file in the private folder survives the supervisor`() throws {
            try RunningSupervisor.with([SandboxEntry("a", "counter", startup: "run")]) {
                supervisor in
                try waitForRunning(supervisor)
                let path = supervisor.folder + "/private/diary"
                try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
                try expectEnd(supervisor, .seconds(10))
                try #expect(String(contentsOfFile: path, encoding: .utf8) == "mine")
                #expect(!FileManager.default.fileExists(atPath: supervisor.folder + "/private/a"))
            }
        }

        @Test
        func `somebody else's folder of the name private is refused and untouched`() throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let files = FileManager.default
            try files.createDirectory(
                atPath: folder + "/private", withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o755])
            #expect(files.createFile(atPath: folder + "/private/diary", contents: Data([1])))
            let configuration = try RunningSupervisor.configuration([
                SandboxEntry("a", "counter")
            ])
            try configuration.write(to: URL(fileURLWithPath: folder + "/s.json"))
            let program = try RunningProgram(
                Machine.program("hyperlight-supervisor"),
                ["--config", folder + "/s.json", "--socket", folder + "/c.sock"])
            defer { program.end() }
            try #expect(program.waitForEnd(.seconds(5)) == .exit(73))
            _ = program.output.waitForEnd(.seconds(5))
            #expect(program.output.text.contains("mode 0700"), "\(program.output.text)")
            #expect(files.fileExists(atPath: folder + "/private/diary"))
        }

        @Test
        func `F29: two supervisors cannot share a folder, whatever their sockets' names`() throws {
            try RunningSupervisor.with([SandboxEntry("a", "counter", startup: "run")]) {
                supervisor in
                try waitForRunning(supervisor)
                let second = try RunningProgram(
                    Machine.program("hyperlight-supervisor"),
                    [
                        "--config", supervisor.folder + "/s.json", "--socket",
                        supervisor.folder + "/other.sock",
                    ])
                defer { second.end() }
                try #expect(second.waitForEnd(.seconds(5)) == .exit(73))
                try #expect(supervisor.status("a").state == .running)
                let image = try GuestImage.named("counter")
                try supervisor.expectTicking("a", image)
            }
        }

        @Test(
            .disabled(
                if: Machine.isSanitized, "under a sanitizer a guest prints less than its share"))
        func `a guest that prints for ever gets a share of the log`() throws {
            try RunningSupervisor.with([SandboxEntry("a", "tests/flood")]) { supervisor in
                for _ in 0..<2 {
                    try supervisor.waitForEvent(
                        "a", "output.dropped", containing: "bytes of guest output were dropped",
                        from: supervisor.log.count)
                }
                let log = supervisor.log
                let said = log.filter { $0.event == "guest.output" }
                let bytes = said.reduce(0) { $0 + $1.msg.utf8.count }
                let first = try #require(said.first?.time)
                let last = try #require(said.last?.time)
                print("measured: flood:", bytes, "bytes in", [last - first].text, "s")
                #expect(Double(bytes) <= (last - first + 1.1) * 65536)
                let reports = log.filter { $0.event == "output.dropped" }.map(\.time)
                #expect(zip(reports, reports.dropFirst()).allSatisfy { $1 - $0 >= 0.99 })
                try #expect(supervisor.status("a").state == .running)
                try expectEnd(supervisor, .seconds(10))
            }
        }
    }
}
