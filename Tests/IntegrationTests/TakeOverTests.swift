import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// One debugger takes the place of another.
    @Suite(.serialized)
    struct TakeOvers {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        /// A counter with a client that has stopped it.
        private func withAttachedClient(
            _ change: (inout SandboxEntry) -> Void = { _ in },
            _ body: (RunningSupervisor, RSPClient, UInt16) throws -> Void
        ) throws {
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("a", "counter", port: port)
            change(&entry)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let client = try RSPClient(.port(port))
                try client.attach()
                try supervisor.waitForEvent("a", "debug.attached")
                try body(supervisor, client, port)
            }
        }

        @Test func `debug names who is there and how to take over, and leaves them alone`() throws {
            try withAttachedClient { supervisor, client, _ in
                let (ending, text) = try supervisor.control(["debug", "a"])
                #expect(ending == .exit(75))
                #expect(text.contains(#/"a" is being debugged by 127\.0\.0\.1:\d+;/#), "\(text)")
                #expect(text.contains("--take-over"), "\(text)")
                try #expect(client.readRegister(16) == counter.entry)
                try client.detach()
            }
        }

        @Test func `with take-over the first client is closed and gdb is served`() throws {
            try withAttachedClient { supervisor, client, _ in
                // The next one shall not find what this one has left.
                let tick = try counter.address(of: "tick")
                try #expect(client.ask("Z0,\(String(tick, radix: 16)),1") == "OK")
                let text = try takeOver(
                    supervisor, ["break tick", "continue", "bt", "x/4xb tick", "detach"])
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                #expect(client.isClosed(within: .seconds(5)))
                try supervisor.waitForEvent(
                    "a", "debug.detached", containing: "another debugger took over")
                try supervisor.waitForEvent(
                    "a", "control.request",
                    containing: "POST /v1/sandboxes/a/debug/take-over by uid \(getuid())")
                try supervisor.expectOriginalCode("a", counter, ["tick"])
                try supervisor.expectTicking("a", counter)
            }
        }

        /// Runs gdb by ctl in the place of whoever is there.
        private func takeOver(
            _ supervisor: RunningSupervisor, _ commands: [String]
        ) throws -> String {
            let gdb = try RunningProgram(
                Machine.program("hyperlight-ctl"),
                ["debug", "--take-over", "a", "--socket", supervisor.socket, "--"] + GDB.quiet
                    + ["-batch"] + commands.flatMap { ["-ex", $0] })
            defer { gdb.end() }
            try #expect(gdb.waitForEnd(.seconds(20)) == .exit(0))
            _ = gdb.output.waitForEnd(.seconds(5))
            return gdb.output.text
        }

        @Test func `a client that lets the guest run is sent away too`() throws {
            try withAttachedClient { supervisor, client, _ in
                client.send("c")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let text = try takeOver(supervisor, ["info registers rip", "detach"])
                #expect(text.contains("rip"), "\(text)")
                #expect(client.isClosed(within: .seconds(5)))
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test func `onDisconnect stop: the next client finds the guest where the first had it`()
            throws
        {
            try withAttachedClient({ $0.debug.onDisconnect = "stop" }) { supervisor, client, _ in
                _ = try client.ask("vCont;s:1")
                let place = String(try client.readRegister(16), radix: 16)
                let text = try takeOver(supervisor, ["output/x $pc", "detach"])
                #expect(text.contains("0x\(place)"), "\(text)")
            }
        }

        @Test func `where nobody is, take-over changes nothing`() throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let text = try takeOver(supervisor, ["info registers rip", "detach"])
                #expect(text.contains("rip"), "\(text)")
                #expect(!supervisor.log.contains { $0.msg.contains("took over") })
            }
        }

        @Test func `a sandbox that does not run cannot be taken over`() throws {
            try RunningSupervisor.with([SandboxEntry("a", "hello")]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> finished")
                let (ending, text) = try supervisor.control(["debug", "--take-over", "a"])
                #expect(ending == .exit(3), "\(text)")
                #expect(throws: HarnessError.self) { try supervisor.takeOverAtOnce("a") }
            }
        }

        @Test func `twenty take-overs in a row, each by a client that stays`() throws {
            try withAttachedClient { supervisor, client, port in
                var last = client
                for _ in 0..<20 {
                    try supervisor.takeOverAtOnce("a")
                    #expect(last.isClosed(within: .seconds(5)))
                    last = try RSPClient(.port(port))
                    try last.attach()
                    try Deadline.wait(.seconds(5), for: "the new client") {
                        try supervisor.statusAtOnce("a").debug.client != nil
                    }
                }
                try last.detach()
                try supervisor.expectTicking("a", counter)
                try #expect(supervisor.status("a").generation == 1)
            }
        }
    }
}
