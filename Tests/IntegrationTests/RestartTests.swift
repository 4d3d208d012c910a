import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Workers that end, and what follows by the restart policy.
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

        // MARK: By policy

        @Test(arguments: Driver.present)
        func
            `F1, N13: a killed worker is told at once and comes back, its neighbour does not notice`(
                _ driver: Driver
            ) throws
        {
            let count = Machine.runsLongTests ? 100 : 8
            let restart = SandboxEntry.Restart(initialDelay: "20ms", maxDelay: "20ms", burst: 100)
            let entries = [
                Self.entry("a", on: driver, restart: restart), Self.entry("b", on: driver),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("b", "sandbox.state", containing: "-> running")
                let neighbour = try supervisor.worker("b")
                var milliseconds: [Double] = []
                var next = 0
                for _ in 0..<count {
                    try supervisor.waitForEvent(
                        "a", "sandbox.state", containing: "-> running", from: next)
                    let victim = try supervisor.worker("a")
                    next = supervisor.log.count
                    let time = wallClockSeconds()
                    kill(victim, SIGKILL)
                    let record = try supervisor.waitForEvent(
                        "a", "worker.exited", containing: "signal 9", from: next)
                    milliseconds.append((record.time - time) * 1000)
                }
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> running", from: next)
                try supervisor.expectTicking("a", counter)
                try #expect(supervisor.worker("b") == neighbour)
                // The smallest of which 99 in 100 are no larger.
                let p99 = milliseconds.sorted()[(count * 99 + 99) / 100 - 1]
                print(
                    "N13: \(driver): \(count) deaths to record: median",
                    [milliseconds.median].text, "ms, p99", [p99].text, "ms")
                // Of a few, one may meet a busy machine.
                let typical = Machine.runsLongTests ? p99 : milliseconds.median
                #expect(typical <= 50 * Machine.slowness)
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
                let victim = try supervisor.worker("a")
                try supervisor.waitForWork("a") {
                    gdb.begin("continue")
                    try gdb.waitForText("Continuing.")
                }
                let next = supervisor.log.count
                kill(victim, SIGKILL)
                try gdb.waitForText("Program terminated with signal SIGKILL")
                gdb.kill()
                // Nobody is waited for any more: what came back by itself runs.
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> running", from: next)
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

        @Test(.enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"))
        func `F32: the default policy gives up after seconds, and costs less than 5 %`() throws {
            let entries = (0..<4).map {
                Self.entry("s\($0)", $0 < 2 ? "tests/fault" : "counter")
            }
            try RunningSupervisor.with(entries) { supervisor in
                let before = processorSeconds(supervisor.program.processID)
                let start = wallClockSeconds()
                for name in ["s0", "s1"] {
                    try supervisor.waitForEvent(
                        name, "sandbox.state", containing: "-> failed", .seconds(12))
                    try #expect(supervisor.status(name).generation == 6)
                }
                let seconds = wallClockSeconds() - start
                let share = (processorSeconds(supervisor.program.processID) - before) / seconds
                print("F32: failed after", [seconds].text, "s; share of a processor", [share].text)
                #expect(seconds > 5 && share < 0.05)
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
    }
}
