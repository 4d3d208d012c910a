import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Children that stand still, and some that only look as if they did.
    @Suite(
        .serialized, .enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"))
    struct SilentChildren {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        /// Stops a child, and fails unless it is degraded after 5 s and killed after 10 s.
        private func expectKill(
            _ supervisor: RunningSupervisor, _ role: String, _ processID: Int32
        ) throws {
            let start = wallClockSeconds()
            kill(processID, SIGSTOP)
            let warning = try supervisor.waitForEvent(
                "a", "\(role).unresponsive", containing: "5 s", .seconds(8))
            try #expect(supervisor.status("a").unresponsive == [role])
            try #expect(supervisor.control(["status"]).text.contains("\(role) unresponsive"))
            let death = try supervisor.waitForEvent("a", "\(role).exited", .seconds(8))
            let (patience, life) = (warning.time - start, death.time - start)
            print(
                "N14: \(role) degraded after", [patience].text, "s, killed after", [life].text, "s")
            #expect((5...7).contains(patience) && (10...12).contains(life))
            try #expect(supervisor.status("a").unresponsive == nil)
        }

        @Test(arguments: Driver.sample)
        func
            `F3, N14: a worker that stands still is degraded at 5 s, killed at 10 s, and comes back`(
                _ driver: Driver
            ) throws
        {
            let entry = SandboxEntry("a", "counter", on: driver, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let next = supervisor.log.count
                try expectKill(supervisor, "worker", try supervisor.worker("a"))
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> running", from: next)
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test(arguments: Driver.sample)
        func `F7, N14: a stub that stands still is killed at 10 s, and the guest goes on`(
            _ driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: counter.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                let stub = try #require(try supervisor.status("a").stubPID)
                try expectKill(supervisor, "stub", stub)
                gdb.kill()
                try supervisor.expectTicking("a", counter)
                try supervisor.expectOriginalCode("a", counter, ["tick"])
                try #expect(supervisor.status("a").generation == 1)
            }
        }

        @Test(arguments: Driver.sample)
        func `a guest that spins, one that prints for ever and one that is debugged are no hang`(
            _ driver: Driver
        ) throws {
            let image = try GuestImage.named(Ticker.guest)
            let entries = [
                ("spins", "tests/spin"), ("prints", Ticker.guest), ("debugged", "counter"),
            ].map { SandboxEntry($0.0, $0.1, on: driver, startup: "run") }
            try RunningSupervisor.with(entries) { supervisor in
                for entry in entries {
                    try supervisor.waitForEvent(
                        entry.name, "sandbox.state", containing: "-> running")
                }
                // A line every few microseconds: its worker finds the socket full most of the time.
                let perLine = try image.address(of: "ticks_per_line")
                try supervisor.stopping("debugged") { _ in
                    try supervisor.stopping("prints") { try $0.writeWord(1, at: perLine) }
                    try supervisor.waitForEvent("prints", "output.dropped")
                    // The time that is measured, not a wait for something.
                    poll(nil, 0, 25_000)
                }
                #expect(!supervisor.log.contains { $0.event.hasSuffix("unresponsive") })
                try #expect(supervisor.control(["stop", "spins", "prints"]).ending == .exit(0))
                try supervisor.expectTicking("debugged", counter)
                for entry in entries { try #expect(supervisor.status(entry.name).generation == 1) }
            }
        }

        @Test
        func `a stub that keeps dying closes its door, and opens it again when asked for`() throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", port: port, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let worker = try supervisor.worker("a")
                let start = wallClockSeconds()
                var deaths = 0
                try Deadline.wait(.seconds(45), for: "the end of all patience") {
                    let status = try supervisor.status("a")
                    if let stub = status.stubPID, kill(stub, SIGKILL) == 0 { deaths += 1 }
                    return status.debug.state == .unavailable
                }
                print("stub given up after", [wallClockSeconds() - start].text, "s")
                let errors = supervisor.log.filter { $0.sandbox == "a" && $0.level == "error" }
                #expect(errors.map(\.event) == ["stub.gave-up"])
                #expect((try? RSPClient(.port(port))) == nil)
                #expect((try? RSPClient(supervisor.debugSocket("a"))) == nil)
                try #expect(supervisor.worker("a") == worker)
                try #expect(supervisor.control(["stub", "restart", "a"]).ending == .exit(0))
                try Deadline.wait(.seconds(5), for: "a new stub") {
                    try supervisor.status("a").debug.state == .listening
                }
                let text = try GDB.run(
                    ["target remote 127.0.0.1:\(port)", "break tick", "continue", "detach"],
                    file: counter.path)
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                try #expect(supervisor.worker("a") == worker)
            }
        }
    }
}
