import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Workers that end, and what follows: by the restart policy, and by order.
    @Suite(.serialized)
    struct Restarts {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        private static func entry(
            _ name: String, _ guest: String = "counter", on driver: Driver = .emulator,
            restart: SandboxEntry.Restart? = nil
        ) -> SandboxEntry {
            var entry = SandboxEntry(name, guest, on: driver, startup: "run")
            entry.restart = restart
            return entry
        }

        private func worker(_ supervisor: RunningSupervisor, _ name: String) throws -> Int32 {
            guard let worker = try supervisor.status(name).workerPID else {
                throw HarnessError("\(name) has no worker")
            }
            return worker
        }

        // MARK: By policy

        @Test(arguments: Driver.present)
        func
            `F1, N13: a killed worker is told at once and comes back, its neighbour does not notice`(
                _ driver: Driver
            ) throws
        {
            let entries = [
                Self.entry("a", on: driver, restart: .init(initialDelay: "20ms", burst: 100)),
                Self.entry("b", on: driver),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("b", "sandbox.state", containing: "-> running")
                let neighbour = try worker(supervisor, "b")
                var toRecord: [Double] = []
                for round in 0..<(Machine.runsLongTests ? 100 : 8) {
                    let start = supervisor.log.count
                    try supervisor.waitForEvent(
                        "a", "sandbox.state", containing: "-> running",
                        from: round == 0 ? 0 : start - 1)
                    let next = supervisor.log.count
                    let victim = try worker(supervisor, "a")
                    let time = wallClockSeconds()
                    kill(victim, SIGKILL)
                    let record = try supervisor.waitForEvent(
                        "a", "worker.exited", containing: "signal 9", from: next)
                    toRecord.append((record.time - time) * 1000)
                    try supervisor.waitForEvent(
                        "a", "sandbox.state", containing: "backoff -> starting", from: next)
                }
                try supervisor.expectTicking("a", counter)
                try #expect(worker(supervisor, "b") == neighbour)
                try #expect(supervisor.status("b").generation == 1)
                let p99 = toRecord.sorted()[toRecord.count * 99 / 100]
                print("N13: \(driver): death to record p99 \(p99) ms, median \(toRecord.median) ms")
                #expect(p99 < 200)
            }
        }

        @Test
        func `F1: gdb at a killed worker is told, and the next client finds the next guest`() throws
        {
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("a", "counter", port: port)
            entry.restart = .init(initialDelay: "50ms")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: counter.path, port: port)
                let victim = try worker(supervisor, "a")
                try supervisor.waitForWork("a") {
                    gdb.begin("continue")
                    try gdb.waitForText("Continuing.")
                }
                kill(victim, SIGKILL)
                try gdb.waitForText("Program terminated with signal SIGKILL")
                gdb.kill()
                // Nobody is waited for any more: what came back by itself runs.
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let text = try GDB.run(
                    ["target remote 127.0.0.1:\(port)", "bt 1", "detach"], file: counter.path)
                #expect(text.contains("counter.c"), "\(text)")
                try #expect(supervisor.status("a").generation == 2)
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test
        func `F32: a guest that crashes at once is tried so often, then failed; no storm`() throws {
            let restart = SandboxEntry.Restart(initialDelay: "10ms", maxDelay: "40ms", burst: 5)
            let entries = [Self.entry("bad", "tests/fault", restart: restart), Self.entry("good")]
            try RunningSupervisor.with(entries) { supervisor in
                let before = processorSeconds(supervisor.program.processID)
                let start = wallClockSeconds()
                try supervisor.waitForEvent(
                    "bad", "worker.gave-up", containing: "hyperlight-ctl start bad")
                try supervisor.waitForEvent("bad", "sandbox.state", containing: "-> failed")
                let status = try supervisor.status("bad")
                #expect(status.state == .failed && status.generation == 6)
                #expect(status.lastError?.contains("the guest crashed") == true)
                try supervisor.expectTicking("good", counter)
                poll(nil, 0, 500)
                let used = processorSeconds(supervisor.program.processID) - before
                let percent = 100 * used / (wallClockSeconds() - start)
                print(
                    "F32: supervisor used \(Int(used * 1000)) ms, \(Int(percent)) % of one processor"
                )
                let idle = processorSeconds(supervisor.program.processID)
                poll(nil, 0, 500)
                #expect(processorSeconds(supervisor.program.processID) - idle < 0.025)
                // It is forgiven when somebody asks, and fails again.
                let next = supervisor.log.count
                try #expect(supervisor.control(["start", "bad"]).ending == .exit(0))
                try supervisor.waitForEvent("bad", "worker.gave-up", from: next)
            }
        }

        @Test
        func `the delay doubles, and the status tells when the next start is`() throws {
            let restart = SandboxEntry.Restart(initialDelay: "300ms", maxDelay: "30s", burst: 9)
            try RunningSupervisor.with([Self.entry("a", "tests/fault", restart: restart)]) {
                supervisor in
                var times: [Double] = []
                for number in 1...3 {
                    let record = try supervisor.waitForEvent(
                        "a", "sandbox.state", containing: "restart \(number) of 9 in ")
                    #expect(record.level == "error" && record.msg.contains("-> backoff"))
                    let status = try supervisor.status("a")
                    if status.state == .backoff { #expect(status.retryMilliseconds != nil) }
                    times.append(record.time)
                }
                let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
                #expect(gaps[0] > 0.27 && gaps[1] > 0.54, "\(gaps)")
                try #expect(supervisor.control(["status"]).text.contains("retry in "))
            }
        }

        @Test
        func `with policy never a crash is the end, with always a finished guest comes back`()
            throws
        {
            let entries = [
                Self.entry("never", "tests/fault", restart: .never),
                Self.entry(
                    "always", "tests/halt-at-once",
                    restart: .init(policy: "always", initialDelay: "10ms", burst: 3)),
                Self.entry("default", "tests/halt-at-once"),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("never", "sandbox.state", containing: "-> failed")
                try supervisor.waitForEvent("always", "worker.gave-up")
                try supervisor.waitForEvent("default", "sandbox.state", containing: "-> finished")
                try #expect(supervisor.status("never").generation == 1)
                try #expect(supervisor.status("always").generation == 4)
                try #expect(supervisor.status("default").generation == 1)
            }
        }

        // MARK: By order

        @Test
        func `stop, start and restart do what they say, and say when they cannot`() throws {
            let port = try RunningSupervisor.freePort()
            let entries = [SandboxEntry("a", "counter", port: port), Self.entry("b")]
            try RunningSupervisor.with(entries) { supervisor in
                func control(_ words: String...) throws -> RunningProgram.Ending {
                    try supervisor.control(words).ending
                }
                try supervisor.waitForHeldGuest("a")
                try supervisor.waitForEvent("b", "sandbox.state", containing: "-> running")
                try #expect(control("start", "a") == .exit(75))
                try #expect(control("stop", "a") == .exit(0))
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> stopped")
                try #expect(control("stop", "a") == .exit(3))
                // Nobody waits at a door behind which nobody comes.
                #expect(throws: HarnessError.self) { try RSPClient(.port(port)) }
                var next = supervisor.log.count
                try #expect(control("start", "a") == .exit(0))
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> waiting", from: next)
                let first = try worker(supervisor, "a")
                next = supervisor.log.count
                try #expect(control("restart", "a", "b") == .exit(0))
                for name in ["a", "b"] {
                    try supervisor.waitForEvent(
                        name, "sandbox.state", containing: "-> starting", from: next)
                }
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> waiting", from: next)
                try #expect(worker(supervisor, "a") != first)
                try #expect(supervisor.status("a").generation == 3)
                let client = try RSPClient(.port(port))
                try client.attach()
                try client.detach()
                next = supervisor.log.count
                try #expect(control("stop", "--now", "--all") == .exit(0))
                for name in ["a", "b"] {
                    try supervisor.waitForEvent(
                        name, "sandbox.state", containing: "-> stopped", from: next)
                }
                try #expect(control("start", "a", "nobody") == .exit(4))
                try #expect(control("start") == .exit(64))
                try #expect(control("start", "--all", "a") == .exit(64))
                supervisor.program.signal(SIGTERM)
                try #expect(supervisor.program.waitForEnd(.seconds(10)) == .exit(0))
            }
        }

        @Test func `a debugger is let go before its guest is stopped`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: counter.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                try #expect(supervisor.control(["stop", "a"]).ending == .exit(0))
                let stopped = try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> stopped")
                let started = try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> stopping")
                #expect(stopped.time - started.time < 1)
            }
        }

        // MARK: Children that stand still

        @Test(
            .enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"),
            arguments: Driver.present)
        func
            `F3, N14: a worker that stands still is degraded at 5 s, killed at 10 s, and comes back`(
                _ driver: Driver
            ) throws
        {
            try RunningSupervisor.with([Self.entry("a", on: driver)]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let victim = try worker(supervisor, "a")
                let start = wallClockSeconds()
                kill(victim, SIGSTOP)
                let warning = try supervisor.waitForEvent(
                    "a", "worker.unresponsive", containing: "5 s", .seconds(8))
                try #expect(supervisor.status("a").unresponsive == ["worker"])
                try #expect(supervisor.control(["status"]).text.contains("worker unresponsive"))
                let death = try supervisor.waitForEvent("a", "worker.exited", .seconds(8))
                print(
                    "N14: \(driver): worker degraded after \(warning.time - start) s, "
                        + "killed after \(death.time - start) s")
                #expect((10...12).contains(death.time - start))
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "starting -> running",
                    from: supervisor.log.count - 3)
            }
        }

        @Test(.enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"))
        func `F7, N14: a stub that stands still is killed at 10 s, and the guest goes on`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: counter.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                guard let stub = try supervisor.status("a").stubPID else {
                    throw HarnessError("no stub")
                }
                let start = wallClockSeconds()
                kill(stub, SIGSTOP)
                let warning = try supervisor.waitForEvent(
                    "a", "stub.unresponsive", containing: "5 s", .seconds(8))
                let death = try supervisor.waitForEvent("a", "stub.exited", .seconds(8))
                print(
                    "N14: stub degraded after \(warning.time - start) s, "
                        + "killed after \(death.time - start) s")
                #expect((10...12).contains(death.time - start))
                try supervisor.expectTicking("a", counter)
                try #expect(supervisor.status("a").generation == 1)
            }
        }

        @Test(
            .enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"),
            arguments: Driver.present)
        func `a guest that spins and one that a debugger holds are no hang`(
            _ driver: Driver
        ) throws {
            let entries = [
                Self.entry("spins", "tests/spin", on: driver), Self.entry("held", on: driver),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("spins", "sandbox.state", containing: "-> running")
                try supervisor.waitForEvent("held", "sandbox.state", containing: "-> running")
                let client = try RSPClient(supervisor.debugSocket("held"))
                try client.attach()
                poll(nil, 0, 12_000)
                #expect(!supervisor.log.contains { $0.event.hasSuffix("unresponsive") })
                try client.detach()
                try supervisor.expectTicking("held", counter)
            }
        }
    }
}
