import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// What `debug.onCrash` and `debug.access` make of real guests.
    @Suite(.serialized)
    struct CrashPolicies {
        private func entry(
            _ driver: Driver, onCrash: String, restart: SandboxEntry.Restart = .never,
            startup: String = "run"
        ) -> SandboxEntry {
            var entry = SandboxEntry("a", "tests/fault", on: driver, startup: startup)
            entry.debug.onCrash = onCrash
            entry.restart = restart
            return entry
        }

        /// A guest that crashed when nobody was there, and waits for somebody.
        private func withWaitingCrash(
            _ driver: Driver, restart: SandboxEntry.Restart = .never,
            _ body: (RunningSupervisor) throws -> Void
        ) throws {
            let entry = entry(driver, onCrash: "wait", restart: restart)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> crashed")
                try body(supervisor)
            }
        }

        @Test(arguments: Driver.present)
        func `wait: a guest that crashed alone is shown as held, and gdb reads it`(
            _ driver: Driver
        ) throws {
            try withWaitingCrash(driver) { supervisor in
                let status = try supervisor.status("a")
                #expect(status.state == .crashed && status.workerPID != nil)
                #expect(status.generation == 1 && status.retryMilliseconds == nil)
                let (_, table) = try supervisor.control(["status"])
                #expect(table.contains(#/crashed .*held, unix/#), "\(table)")
                let gdb = try RunningProgram(
                    Machine.program("hyperlight-ctl"),
                    ["debug", "a", "--socket", supervisor.socket, "--"] + GDB.quiet + [
                        "-batch", "-ex", "output/x $rbx", "-ex", "output/x $pc", "-ex", "detach",
                    ])
                defer { gdb.end() }
                try #expect(gdb.waitForEnd(.seconds(20)) == .exit(0))
                _ = gdb.output.waitForEnd(.seconds(5))
                let place = try GuestImage.named("tests/fault").address(of: "faulting_store")
                let expected = "0x7000000000" + "0x" + String(place, radix: 16)
                #expect(gdb.output.text.contains(expected), "\(gdb.output.text)")
                // Somebody has come and gone.
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
            }
        }

        @Test func `wait: the restart policy waits for the end`() throws {
            var restart = SandboxEntry.Restart(policy: "on-failure")
            restart.initialDelay = "10ms"
            try withWaitingCrash(.emulator, restart: restart) { supervisor in
                let worker = try supervisor.worker("a")
                let next = supervisor.log.count
                try supervisor.stopping("a") { _ in }
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> backoff", from: next)
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> crashed", from: next)
                let status = try supervisor.status("a")
                #expect(status.generation == 2 && status.workerPID != worker)
            }
        }

        @Test(arguments: [
            ("start", "-> crashed"), ("restart", "-> crashed"), ("stop", "-> stopped"),
        ])
        func `wait: an order ends it`(_ order: String, _ end: String) throws {
            try withWaitingCrash(.emulator) { supervisor in
                let next = supervisor.log.count
                let (ending, text) = try supervisor.control([order, "a"])
                #expect(ending == .exit(0), "\(text)")
                try supervisor.waitForEvent("a", "sandbox.state", containing: end, from: next)
                try #expect(supervisor.status("a").generation == (order == "stop" ? 1 : 2))
            }
        }

        @Test func `wait: resume lets it go, and the policy decides`() throws {
            try withWaitingCrash(.emulator) { supervisor in
                try #expect(supervisor.control(["resume", "a"]).ending == .exit(0))
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
            }
        }

        @Test func `wait: a supervisor that is asked to end does not wait for anybody`() throws {
            try withWaitingCrash(.emulator) { supervisor in
                supervisor.program.signal(SIGTERM)
                try #expect(supervisor.program.waitForEnd(.seconds(5)) == .exit(0))
            }
        }

        @Test func `wait: without a door nobody is waited for`() throws {
            var entry = entry(.emulator, onCrash: "wait")
            entry.debug.enabled = false
            try RunningSupervisor.with([entry]) { supervisor in
                _ = try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
            }
        }

        @Test func `end: a crash is the end although a client looks`() throws {
            let entry = entry(.emulator, onCrash: "end", startup: "wait")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let client = try RSPClient(supervisor.debugSocket("a"))
                try client.attach()
                let end = try client.resume("c")
                #expect(end.hasPrefix("X"), "\(end)")
                _ = try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
            }
        }

        @Test(arguments: Driver.present)
        func `read-only: everything can be looked at and nothing changed`(_ driver: Driver) throws {
            var entry = SandboxEntry("a", "counter", on: driver, startup: "wait")
            entry.debug.access = "read-only"
            let counter = try GuestImage.named("counter")
            let ticks = try counter.address(of: "ticks")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                try supervisor.stopping("a") { client in
                    let tick = String(try counter.address(of: "tick"), radix: 16)
                    try #expect(client.ask("Z0,\(tick),1") == "OK")
                    try #expect(client.ask("c").hasPrefix("T05"))
                    try #expect(client.ask("z0,\(tick),1") == "OK")
                    try #expect(client.ask("vCont;s:1").hasPrefix("T05"))
                    let before = try (client.readWord(at: ticks), client.readRegister(0))
                    for change in [
                        "M\(String(ticks, radix: 16)),1:55", "P0=5555555555555555",
                        "X\(String(ticks, radix: 16)),1:U",
                    ] {
                        let answer = try client.ask(change)
                        #expect(answer.hasPrefix("E"), "\(change): \(answer)")
                    }
                    let after = try (client.readWord(at: ticks), client.readRegister(0))
                    #expect(before == after)
                }
                try supervisor.expectTicking("a", counter)
            }
        }
    }
}
