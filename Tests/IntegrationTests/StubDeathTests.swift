import ControlAPI
import Foundation
import GuestModel
import Testing

/// What a stub is doing when it is killed.
enum ProtocolState: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case listening
    case silentClient = "client connected, silent"
    case stopped = "attached and stopped"
    case running = "the guest runs under the debugger"
    case stepping = "in the middle of many steps"
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

        @Test(arguments: StubDeathCase.all)
        func `6: stub killed: the guest goes on, a new stub serves the same port`(
            testCase: StubDeathCase
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, on: testCase.driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try Ticker.start(supervisor, "a", image)
                let before = try supervisor.status("a")
                guard let stub = before.stubPID else { throw HarnessError("no stub") }
                let client = try bring(to: testCase.state, supervisor, port)
                let killed = wallClockSeconds()
                kill(stub, SIGKILL)
                let pause = try supervisor.secondsToPrint("a", since: killed, .seconds(3))
                try waitForNewStub(supervisor, "a", after: stub)
                client?.end()
                try expectDebuggable(supervisor, port)
                let longest = longestPause(supervisor, since: killed)
                print(
                    "measured: stub killed, \(testCase.testDescription): the guest went on after",
                    [pause * 1000].text, "ms, longest pause", [longest * 1000].text, "ms")
                #expect(pause <= 1 && longest <= 1)
                try #expect(supervisor.status("a").workerPID == before.workerPID)
                try supervisor.expectOriginalCode("a", image, ["tick", "print_scalar"])
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

        /// A client that lives as long as the state is wanted.
        private final class Client {
            private var gdb: InteractiveGDB?
            private var raw: RSPClient?

            init(_ gdb: InteractiveGDB) { self.gdb = gdb }
            init(_ raw: RSPClient) { self.raw = raw }

            func end() {
                gdb?.program.end()
                raw = nil
            }
        }

        private func bring(
            to state: ProtocolState, _ supervisor: RunningSupervisor, _ port: UInt16
        ) throws -> Client? {
            switch state {
            case .listening: return nil
            case .silentClient: return Client(try RSPClient(.port(port)))
            case .inserted:
                let client = try RSPClient(.port(port))
                try client.attach()
                let tick = String(try image.address(of: "tick"), radix: 16)
                let print = String(try image.address(of: "print_scalar"), radix: 16)
                try #expect(client.ask("Z0,\(tick),1") == "OK")
                try #expect(client.ask("Z1,\(print),1") == "OK")
                return Client(client)
            case .stopped, .running, .stepping: break
            }
            let gdb = try InteractiveGDB(symbols: image.path, port: port)
            try gdb.command("break tick")
            try gdb.command("continue")
            if state == .running {
                try gdb.command("delete")
                gdb.begin("continue")
                try gdb.waitForText("Continuing.")
                try supervisor.secondsToPrint("a", since: wallClockSeconds(), .seconds(3))
            }
            if state == .stepping {
                // It says so once a hundred steps: many are done, many are to come.
                gdb.begin("while 1")
                gdb.program.write("stepi 100")
                gdb.program.write("end")
                try gdb.waitForText("ticker.c")
                try gdb.waitForText("ticker.c")
            }
            return Client(gdb)
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
        func `7: a guest held for its first client stays held when its stub is killed`(
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
