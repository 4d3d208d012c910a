import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Workers and stubs that do not behave as ours do.
    @Suite(.serialized)
    struct BadChildren {
        private let programs: ProgramCopies

        init() throws { programs = try ProgramCopies() }

        /// A supervisor whose emulator worker is this shell script; 3 is its control socket.
        private func withWorker(
            _ script: String, _ profile: String? = nil,
            _ body: (RunningSupervisor) throws -> Void
        ) throws {
            try programs.replaceWorker(by: script)
            var entry = SandboxEntry("a", "counter")
            entry.isolation = SandboxEntry.Isolation(profile: profile)
            entry.restart = .never
            try RunningSupervisor.with([entry], programs: programs.folder, body)
        }

        private func expectEnd(_ supervisor: RunningSupervisor) throws {
            supervisor.program.signal(SIGTERM)
            try #expect(supervisor.program.waitForEnd(.seconds(10)) == .exit(0))
        }

        @Test
        func `a worker that says nothing is not resumed, and failed after 5 s`() throws {
            try withWorker("exec sleep 60") { supervisor in
                try Deadline.wait(.seconds(5), for: "a worker") {
                    (try? supervisor.status("a").workerPID) != nil
                }
                let (ending, text) = try supervisor.control(["resume", "a"])
                #expect(ending == .exit(75))
                #expect(text.contains("still starting"), "\(text)")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "within 5 s")
                try Deadline.wait(.seconds(5), for: "its end") {
                    try supervisor.status("a").workerPID == nil
                }
            }
        }

        @Test
        func `F15: a worker that breaks the protocol is killed, and the status says why`() throws {
            try withWorker("printf nonsense >&3; exec sleep 60") { supervisor in
                try supervisor.waitForEvent("a", "worker.protocol")
                try Deadline.wait(.seconds(5), for: "its end") {
                    try supervisor.status("a").workerPID == nil
                }
                let status = try supervisor.status("a")
                #expect(status.state == .failed)
                let reason = try #require(status.lastError)
                #expect(reason.contains("broke the protocol"), "\(reason)")
                #expect(supervisor.log.count { $0.event == "sandbox.state" } == 1)
            }
        }

        @Test
        func `a worker reports no state before it has said that it is confined`() throws {
            // The frame of `state` running.
            let frame = #"\056\001\000\000\005\000\000\000\004\000\000\000\000"#
            try withWorker("printf '\(frame)' >&3; exec sleep 60") { supervisor in
                try supervisor.waitForEvent("a", "worker.protocol", containing: "state running")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
                #expect(!supervisor.log.contains { $0.msg.contains("-> running") })
            }
        }

        @Test
        func `a worker that ends before it has begun is no guest that finished`() throws {
            try withWorker("exit 0") { supervisor in
                let record = try supervisor.waitForEvent("a", "sandbox.state")
                #expect(record.msg.contains("-> failed: the worker ended: exit code 0"))
            }
        }

        @Test
        func `a sandbox that cannot start leaves no open door`() throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "/nonexistent/guest", port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
                try Deadline.wait(.seconds(5), for: "the door to close") {
                    (try? RSPClient(.port(port))) == nil
                }
                let (ending, text) = try supervisor.control(["start", "a"])
                #expect(ending == .exit(75), "\(text)")
                // Without root the supervisor has Landlock, which does not tell whether there is such a file.
                let hidden =
                    getuid() != 0 && Machine.hasLandlock && text.contains("Permission denied")
                #expect(text.contains("No such file") || hidden, "\(text)")
                try Deadline.wait(.seconds(5), for: "the door to close") {
                    (try? RSPClient(.port(port))) == nil
                }
            }
        }

        @Test
        func `a worker that closes its control socket and lives is killed`() throws {
            try withWorker("exec 3>&-; exec sleep 60") { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "signal 9")
                try #expect(supervisor.status("a").workerPID == nil)
            }
        }

        @Test(.enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"))
        func `a worker that calls itself failed and lives on is killed after 5 s`() throws {
            // A state with no text: the only one that a worker may report before its greeting.
            let failed = #"\056\001\0\0\005\0\0\0\010\0\0\0\0"#
            try withWorker("printf '\(failed)' >&3; exec sleep 60") { supervisor in
                let start = ContinuousClock.now
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                #expect(seconds > 4 && seconds < 8)
                try Deadline.wait(.seconds(1), for: "its end") { supervisor.children.isEmpty }
                try expectEnd(supervisor)
            }
        }

        @Test
        func `the last words of a worker come before its end`() throws {
            // Not strict: nobody can signal the first process of a PID namespace from inside.
            let script = "echo one >&2; printf 'two' >&2; kill -SEGV $$"
            try withWorker(script, "container") { supervisor in
                try supervisor.waitForEvent("a", "worker.exited", containing: "SEGV")
                let events = supervisor.log.filter { $0.sandbox == "a" }
                let words = events.filter { $0.event == "worker.stderr" }.map(\.msg)
                #expect(words == ["one", "two"])
                let last = try #require(events.lastIndex { $0.event == "worker.stderr" })
                let end = try #require(events.firstIndex { $0.event == "worker.exited" })
                #expect(last < end)
            }
        }

        @Test
        func `F15: a worker that floods its standard error delays nobody and fills no disk`() throws
        {
            // A write into a full pipe fails, which ends `yes` where the supervisor reads slowly.
            try withWorker("while :; do yes '12345678901234567890' >&2; done") { supervisor in
                try supervisor.waitForEvent(
                    "a", "output.dropped", containing: "bytes of worker and stub text")
                try #expect(supervisor.status("a").name == "a")
                let said = supervisor.log.filter { $0.event == "worker.stderr" }
                let bytes = said.reduce(0) { $0 + $1.msg.utf8.count }
                #expect(bytes <= 3 * 65536)
                try expectEnd(supervisor)
            }
        }

        @Test
        func `a stub of another build is refused once, the guest goes on`() throws {
            try programs.replaceStubByAnotherBuild()
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry], programs: programs.folder) { supervisor in
                try supervisor.waitForEvent("a", "stub.mismatch", containing: "zzz")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                try Deadline.wait(.seconds(5), for: "its end") {
                    try supervisor.status("a").stubPID == nil
                }
                let status = try supervisor.status("a")
                #expect(status.debug.state == .unavailable)
                #expect(status.state == .running)
                let start = supervisor.log.count
                let (ending, text) = try supervisor.control(["stub", "restart", "a"])
                #expect(ending == .exit(0), "\(text)")
                try supervisor.waitForEvent("a", "stub.mismatch", from: start)
                #expect(!supervisor.log.contains { $0.event == "stub.exited" })
                try expectEnd(supervisor)
            }
        }

        @Test
        func `a stub that hangs is replaced when asked for`() throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let stub = try #require(try supervisor.status("a").stubPID)
                kill(stub, SIGSTOP)
                let asked = ContinuousClock.now
                let (ending, text) = try supervisor.control(["stub", "restart", "a"])
                #expect(ending == .exit(0), "\(text)")
                try #expect(supervisor.status("a").debug.state == .restarting)
                try Deadline.wait(.seconds(8), for: "a new stub") {
                    let status = try supervisor.status("a")
                    return status.stubPID != nil && status.stubPID != stub
                        && status.debug.state == .listening
                }
                // Five seconds of patience, and a start; with a sanitizer that takes longer.
                let limit = Machine.isSanitized ? 8 : 6
                #expect(ContinuousClock.now - asked <= .seconds(limit))
                #expect(!processLives(stub))
                try supervisor.expectTicking("a", try GuestImage.named("counter"))
            }
        }

        @Test
        func `no new stub is promised when the worker dies with its stub`() throws {
            for _ in 0..<5 {
                var entry = SandboxEntry("a", "counter", startup: "run")
                entry.restart = .never
                try RunningSupervisor.with([entry]) { supervisor in
                    try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                    let worker = try #require(try supervisor.status("a").workerPID)
                    kill(worker, SIGKILL)
                    try Deadline.wait(.seconds(8), for: "the stub's end") {
                        supervisor.children.isEmpty
                    }
                    try #expect(supervisor.status("a").debug.state == .off)
                    let promise = supervisor.log.first { $0.msg.contains("a new stub comes") }
                    #expect(promise == nil, "\(promise?.msg ?? "")")
                    try expectEnd(supervisor)
                }
            }
        }
    }
}
