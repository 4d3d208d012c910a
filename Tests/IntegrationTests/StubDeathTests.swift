import ControlAPI
import Foundation
import GuestModel
import Testing

/// What a stub is doing when it is killed.
enum ProtocolState: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case listening
    case silentClient = "client connected, silent"
    case attaching = "told to attach, the guest not halted yet"
    case softwareBreakpoint = "stopped at a software breakpoint"
    case hardwareBreakpoint = "stopped at a hardware breakpoint"
    case running = "the guest runs under the debugger, with breakpoints"
    case stepping = "in the middle of many steps"
    case rangeStepping = "in the middle of a range step"
    case replying = "in the middle of a long memory reply"
    case inserted = "between breakpoints and continue"

    var testDescription: String { rawValue }
}

struct StubDeathCase: Sendable, CustomTestStringConvertible {
    let driver: Driver
    let state: ProtocolState

    var testDescription: String { "\(driver.rawValue), \(state.rawValue)" }

    static let all = Driver.present.flatMap { driver in
        ProtocolState.allCases.map { StubDeathCase(driver: driver, state: $0) }
    }
}

extension IntegrationTests {
    /// Stubs are killed or replaced: the guest goes on, and the port is served again.
    @Suite(.serialized)
    struct StubsThatDie {
        private let image: GuestImage

        init() throws { image = try GuestImage.named(Ticker.guest) }

        /// Waits until another stub than `old` serves the sandbox.
        private func waitForNewStub(
            _ supervisor: RunningSupervisor, _ sandbox: String, after old: Int32?
        ) throws {
            try Deadline.wait(.seconds(5), for: "a new stub") {
                let stub = try supervisor.status(sandbox).stubPID
                return stub != nil && stub != old
            }
        }

        private static let repetitions = 5
        private static let goesOnWithinMilliseconds = 10.0 * Machine.slowness

        @Test(arguments: StubDeathCase.all)
        func `6, F6: stub killed: the guest goes on, a new stub serves the same port`(
            testCase: StubDeathCase
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, on: testCase.driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try Ticker.start(supervisor, "a", image)
                let worker = try #require(try supervisor.status("a").workerPID)
                var pauses: [Double] = []
                var longest = 0.0
                for _ in 0..<Self.repetitions {
                    let client = try bring(to: testCase.state, supervisor, port, worker)
                    let stub = try #require(try supervisor.statusAtOnce("a").stubPID)
                    let killed = wallClockSeconds()
                    kill(stub, SIGKILL)
                    // Stopped, so that the stub could be caught before the guest was halted.
                    kill(worker, SIGCONT)
                    pauses.append(
                        1000 * (try supervisor.secondsToPrint("a", since: killed, .seconds(3))))
                    try withExtendedLifetime(client) { try supervisor.restartStub("a") }
                    try waitForNewStub(supervisor, "a", after: stub)
                    longest = max(longest, longestPause(supervisor, since: killed))
                    try supervisor.expectOriginalCode("a", image, ["tick", "print_scalar"])
                }
                print(
                    "F6: stub killed, \(testCase.testDescription): the guest went on after",
                    pauses.sorted().text, "ms, longest pause", [longest * 1000].text, "ms")
                #expect(
                    pauses.median <= Self.goesOnWithinMilliseconds * testCase.driver.slowness)
                #expect(longest <= 1)
                try expectDebuggable(supervisor, port)
                try #expect(supervisor.status("a").workerPID == worker)
                try supervisor.expectTicking("a", image)
            }
        }

        /// The longest time in seconds without output.
        private func longestPause(_ supervisor: RunningSupervisor, since start: Double) -> Double {
            let times = [start] + supervisor.printTimes("a", since: start)
            return zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? .infinity
        }

        /// gdb on the same port works: a breakpoint is hit, detaching lets go.
        private func expectDebuggable(_ supervisor: RunningSupervisor, _ port: UInt16) throws {
            let text = try GDB.run(
                ["target remote 127.0.0.1:\(port)", "break tick", "continue", "detach"],
                file: image.path)
            #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
            let detached = wallClockSeconds()
            try supervisor.secondsToPrint("a", since: detached, .seconds(3))
        }

        /// A client whose stub is in the state; the worker may have been stopped for it (SIGSTOP).
        private func bring(
            to state: ProtocolState, _ supervisor: RunningSupervisor, _ port: UInt16,
            _ worker: Int32
        ) throws -> RSPClient? {
            guard state != .listening else { return nil }
            let client = try RSPClient(.port(port))
            guard state != .silentClient else { return client }
            guard state != .attaching else {
                kill(worker, SIGSTOP)
                client.send("qC")
                // The answer comes when the request to the worker has gone.
                _ = try client.receive()
                return client
            }
            try client.attach()
            let tick = String(try image.address(of: "tick"), radix: 16)
            let print = String(try image.address(of: "print_scalar"), radix: 16)
            let start = String(image.entry, radix: 16)
            switch state {
            case .listening, .silentClient, .attaching: break
            case .softwareBreakpoint:
                try #expect(client.ask("Z0,\(tick),1") == "OK")
                try #expect(client.ask("vCont;c").contains("swbreak"))
            case .hardwareBreakpoint:
                try #expect(client.ask("Z1,\(tick),1") == "OK")
                try #expect(client.ask("vCont;c").contains("hwbreak"))
            case .running:
                // Where the guest does not come by any more.
                try #expect(client.ask("Z0,\(start),1") == "OK")
                client.send("vCont;c")
                try supervisor.secondsToPrint("a", since: wallClockSeconds(), .seconds(3))
            case .stepping:
                for _ in 0..<20 { try client.ask("vCont;s") }
                client.send("vCont;s")
            case .rangeStepping:
                let end = String(try image.address(of: "port_out") + 0x1000, radix: 16)
                try supervisor.waitForWork("a") { client.send("vCont;r\(start),\(end)") }
            case .replying:
                // More than the connection holds while nobody reads.
                let question = RSPClient.packet(Array("m\(start),e00".utf8))
                var stuck = 0
                while stuck < 20 {
                    stuck = client.sendSome(question) > 0 ? 0 : stuck + 1
                    if stuck > 0 { _ = client.breaks(within: .milliseconds(1)) }
                }
            case .inserted:
                try #expect(client.ask("Z0,\(tick),1") == "OK")
                try #expect(client.ask("Z1,\(print),1") == "OK")
            }
            return client
        }

        @Test
        func `6: hyperlight-ctl stub restart replaces the stub politely`() throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try Ticker.start(supervisor, "a", image)
                let before = try supervisor.status("a")
                let gdb = try InteractiveGDB(symbols: image.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                let asked = wallClockSeconds()
                let (ending, text) = try supervisor.control(["stub", "restart", "a"])
                #expect(ending == .exit(0), "\(text)")
                let pause = try supervisor.secondsToPrint("a", since: asked, .seconds(3))
                #expect(pause <= 1)
                try waitForNewStub(supervisor, "a", after: before.stubPID)
                try expectDebuggable(supervisor, port)
                try #expect(supervisor.status("a").workerPID == before.workerPID)
                #expect(!supervisor.log.contains { $0.event == "stub.exited" })
            }
        }

        @Test(arguments: Driver.present)
        func `7, F6: a guest held for its first client stays held when its stub is killed`(
            driver: Driver
        ) throws {
            let counter = try GuestImage.named("counter")
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let before = try supervisor.status("a")
                guard let stub = before.stubPID else { throw HarnessError("no stub") }
                kill(stub, SIGKILL)
                try waitForNewStub(supervisor, "a", after: stub)
                let after = try supervisor.status("a")
                #expect(after.state == .waiting)
                #expect(after.workerPID == before.workerPID)
                let ticks = try counter.address(of: "ticks")
                try supervisor.stopping("a") { client in
                    try #expect(client.readRegister(16) == counter.entry)
                    try #expect(client.readWord(at: ticks) == 0)
                }
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test
        func `hyperlight-ctl resume lets a held guest run`() throws {
            let counter = try GuestImage.named("counter")
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let (ending, text) = try supervisor.control(["resume", "a"])
                #expect(ending == .exit(0), "\(text)")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                try supervisor.expectTicking("a", counter)
            }
        }
    }
}
