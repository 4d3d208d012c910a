import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// `hyperlight-ctl start`, `stop` and `restart`.
    @Suite(.serialized)
    struct Orders {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        private func waitForState(
            _ supervisor: RunningSupervisor, _ name: String, _ state: String, from start: Int
        ) throws {
            // "stopped" is also the beginning of "stopped-by-debugger".
            let (end, middle) = ("-> \(state)", "-> \(state): ")
            _ = try supervisor.waitForRecord("\(end) of \(name)", from: start, .seconds(10)) {
                $0.isAbout(name, "sandbox.state", containing: end)
                    && ($0.msg.hasSuffix(end) || $0.msg.contains(middle))
            }
        }

        private func order(_ supervisor: RunningSupervisor, _ words: String...) throws -> Int32 {
            guard case .exit(let code) = try supervisor.control(words).ending else { return -1 }
            return code
        }

        private func isRefused(_ address: RSPClient.Address) -> Bool {
            (try? RSPClient(address)) == nil
        }

        @Test func `a sandbox is stopped, started and restarted, and held for a client each time`()
            throws
        {
            let port = try RunningSupervisor.freePort()
            let entries = [
                SandboxEntry("a", "counter", port: port),
                SandboxEntry("b", "counter", startup: "run"),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForHeldGuest("a")
                try supervisor.waitForEvent("b", "sandbox.state", containing: "-> running")
                var next = supervisor.log.count
                try #expect(order(supervisor, "stop", "a") == 0)
                try waitForState(supervisor, "a", "stopped", from: next)
                // Nobody waits at a door behind which nobody comes.
                #expect(isRefused(.port(port)) && isRefused(supervisor.debugSocket("a")))
                #expect(supervisor.children.count == 2)
                next = supervisor.log.count
                try #expect(order(supervisor, "start", "a") == 0)
                try waitForState(supervisor, "a", "waiting", from: next)
                let first = try supervisor.worker("a")
                next = supervisor.log.count
                try #expect(order(supervisor, "restart", "a", "b") == 0)
                try waitForState(supervisor, "a", "waiting", from: next)
                try waitForState(supervisor, "b", "running", from: next)
                try #expect(supervisor.worker("a") != first)
                let text = try GDB.run(
                    ["target remote 127.0.0.1:\(port)", "break tick", "continue", "detach"],
                    file: counter.path)
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                try supervisor.expectTicking("b", counter)
                next = supervisor.log.count
                try #expect(order(supervisor, "stop", "--now", "--all") == 0)
                for name in ["a", "b"] { try waitForState(supervisor, name, "stopped", from: next) }
                #expect(supervisor.children.isEmpty)
                supervisor.program.signal(SIGTERM)
                try #expect(supervisor.program.waitForEnd(.seconds(10)) == .exit(0))
            }
        }

        @Test func `an order that is not possible has an exit code of its own, the worst one wins`()
            throws
        {
            let entries = [
                SandboxEntry("runs", "counter", startup: "run"), SandboxEntry("ends", "hello"),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("runs", "sandbox.state", containing: "-> running")
                try supervisor.waitForEvent("ends", "sandbox.state", containing: "-> finished")
                try #expect(order(supervisor, "start", "runs") == 75)
                try #expect(order(supervisor, "stop", "ends") == 3)
                try #expect(order(supervisor, "restart", "nobody") == 4)
                try #expect(order(supervisor, "start") == 64)
                try #expect(order(supervisor, "start", "--all", "runs") == 64)
                // All are tried.
                let next = supervisor.log.count
                try #expect(order(supervisor, "stop", "nobody", "ends", "runs") == 4)
                try waitForState(supervisor, "runs", "stopped", from: next)
            }
        }

        @Test func `a finished and a disabled sandbox start when somebody asks for it`() throws {
            var disabled = SandboxEntry("disabled", "counter", startup: "run")
            disabled.enabled = false
            try RunningSupervisor.with([SandboxEntry("ends", "hello"), disabled]) { supervisor in
                try supervisor.waitForEvent("ends", "sandbox.state", containing: "-> finished")
                try #expect(supervisor.status("disabled").state == .disabled)
                let next = supervisor.log.count
                try #expect(order(supervisor, "start", "disabled", "ends") == 0)
                try waitForState(supervisor, "disabled", "running", from: next)
                try waitForState(supervisor, "ends", "finished", from: next)
                try supervisor.expectTicking("disabled", counter)
            }
        }

        @Test func `stopping ends the wait for a restart and closes the door`() throws {
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("a", "tests/fault", port: port, startup: "run")
            entry.restart = .init(initialDelay: "1h", maxDelay: "1h")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> backoff")
                let status = try supervisor.status("a")
                #expect(status.state == .backoff && (status.retryMilliseconds ?? 0) > 3_000_000)
                try #expect(order(supervisor, "stop", "a") == 0)
                try Deadline.wait(.seconds(5), for: "the end of its stub") {
                    try supervisor.status("a").state == .stopped
                }
                #expect(isRefused(.port(port)))
                try #expect(supervisor.status("a").retryMilliseconds == nil)
                let next = supervisor.log.count
                try #expect(order(supervisor, "start", "a") == 0)
                try waitForState(supervisor, "a", "backoff", from: next)
                #expect(!supervisor.log.contains { $0.event == "debug.port-busy" })
            }
        }

        @Test(arguments: Driver.present)
        func `a debugger is let go before its guest ends, and its port is free for the next one`(
            _ driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                for _ in 0..<3 {
                    let client = try RSPClient(.port(port))
                    try client.attach()
                    var next = supervisor.log.count
                    try #expect(order(supervisor, "stop", "a") == 0)
                    let leaving = try supervisor.waitForEvent("a", "debug.detached", from: next)
                    try waitForState(supervisor, "a", "stopped", from: next)
                    let end = try #require(supervisor.log.last { $0.event == "sandbox.state" })
                    #expect(leaving.time < end.time && end.time - leaving.time < 2)
                    next = supervisor.log.count
                    try #expect(order(supervisor, "start", "a") == 0)
                    try waitForState(supervisor, "a", "waiting", from: next)
                    try #expect(supervisor.status("a").debug.address == "127.0.0.1:\(port)")
                }
                #expect(!supervisor.log.contains { $0.event == "debug.port-busy" })
            }
        }

        @Test(.enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"))
        func `a stub that stands still delays the end of its sandbox by five seconds`() throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let stub = try #require(try supervisor.status("a").stubPID)
                kill(stub, SIGSTOP)
                let next = supervisor.log.count
                let start = wallClockSeconds()
                try #expect(order(supervisor, "stop", "a") == 0)
                try #expect(order(supervisor, "start", "a") == 75)
                try waitForState(supervisor, "a", "stopped", from: next)
                #expect((4.5...7).contains(wallClockSeconds() - start))
                #expect(supervisor.children.isEmpty)
            }
        }
    }
}
