import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Several sandboxes at once, and the ends of workers and supervisors.
    @Suite(.serialized)
    struct Supervision {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        @Test
        func `8, F13: two sandboxes with one port: one line names both, the second runs without`()
            throws
        {
            let port = try RunningSupervisor.freePort()
            let entries = ["first", "second"].map { SandboxEntry($0, "counter", port: port) }
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForHeldGuest("first")
                try supervisor.waitForEvent("second", "sandbox.state", containing: "-> running")
                let lines = supervisor.log.filter {
                    $0.msg.contains("\(port) ") && $0.level == "error"
                }
                #expect(lines.count == 1)
                #expect(lines.allSatisfy { $0.msg.contains("first") && $0.msg.contains("second") })
                let second = try supervisor.status("second")
                #expect(second.debug.address == nil)
                #expect(second.debug.detail?.contains("\(port)") == true)
                // Through its Unix socket.
                try supervisor.expectTicking("second", counter)
                let text = try GDB.run(
                    ["target remote 127.0.0.1:\(port)", "info registers rip", "detach"],
                    file: counter.path)
                #expect(text.contains("_start"), "\(text)")
            }
        }

        @Test
        func `8, F13: a port that a foreign process has: an error line, the sandbox runs without`()
            throws
        {
            let port = try RunningSupervisor.freePort()
            let foreign = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(foreign) }
            try #require(RunningSupervisor.bindLoopback(foreign, port) && listen(foreign, 1) == 0)
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                let line = try supervisor.waitForEvent("a", "debug.port-busy")
                #expect(line.level == "error" && line.msg.contains("127.0.0.1:\(port)"))
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                try #expect(supervisor.status("a").debug.address == nil)
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test
        func `9: three sandboxes debugged by three gdbs at once do not disturb each other`() throws
        {
            let drivers = [Driver.emulator, Driver.present[0], Driver.emulator]
            let entries = try drivers.enumerated().map {
                SandboxEntry(
                    "s\($0.offset)", "counter", on: $0.element,
                    port: try RunningSupervisor.freePort())
            }
            try RunningSupervisor.with(entries) { supervisor in
                let gdbs = try entries.map { entry in
                    try supervisor.waitForHeldGuest(entry.name)
                    return try InteractiveGDB(symbols: counter.path, port: entry.debug.port ?? 0)
                }
                for (index, gdb) in gdbs.enumerated() {
                    try gdb.command("set var ticks = \(1000 * (index + 1))")
                    try gdb.command("break tick")
                }
                // All of them at the same time, again and again.
                for _ in 0..<5 {
                    for gdb in gdbs { gdb.begin("continue") }
                    for gdb in gdbs {
                        try gdb.waitForText("Breakpoint 1, tick ()")
                        try gdb.waitForText("@@done@@")
                    }
                }
                for (index, gdb) in gdbs.enumerated() {
                    let text = try gdb.command("output ticks")
                    #expect(text.contains("\(1000 * (index + 1) + 4)"), "\(text)")
                }
                // One is killed, one leaves: the third still stands where it stood.
                gdbs[0].kill()
                try gdbs[1].command("detach")
                let text = try gdbs[2].command("output ticks")
                #expect(text.contains("3004"))
                try gdbs[0].program.waitForEnd(.seconds(5))
                for entry in entries.prefix(2) { try supervisor.expectTicking(entry.name, counter) }
                try gdbs[2].command("detach")
                try supervisor.expectTicking("s2", counter)
            }
        }

        @Test(arguments: Driver.present)
        func `11: worker killed: its gdb is told, the others go on, status shows it`(
            driver: Driver
        ) throws {
            let ports = [try RunningSupervisor.freePort(), try RunningSupervisor.freePort()]
            var entries = [
                SandboxEntry("dies", "counter", on: driver, port: ports[0]),
                SandboxEntry("lives", "counter", port: ports[1]),
            ]
            entries[0].restart = .never
            try RunningSupervisor.with(entries) { supervisor in
                for entry in entries { try supervisor.waitForHeldGuest(entry.name) }
                let gdb = try InteractiveGDB(symbols: counter.path, port: ports[0])
                let other = try InteractiveGDB(symbols: counter.path, port: ports[1])
                guard let worker = try supervisor.status("dies").workerPID else {
                    throw HarnessError("no worker")
                }
                try supervisor.waitForWork("dies") {
                    gdb.begin("continue")
                    try gdb.waitForText("Continuing.")
                }
                kill(worker, SIGKILL)
                try gdb.waitForText("Program terminated with signal SIGKILL")
                try supervisor.waitForEvent("dies", "sandbox.state", containing: "-> failed")
                let status = try supervisor.status("dies")
                #expect(status.state == .failed && status.workerPID == nil)
                #expect(status.lastError?.contains("signal 9") == true)
                try #expect(supervisor.control(["status"]).text.contains("failed"))
                try other.command("break tick")
                let text = try other.command("continue")
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                try other.command("detach")
                try supervisor.expectTicking("lives", counter)
            }
        }

        @Test(arguments: Driver.present)
        func `11: worker killed while its guest stands: gdb is told at its next command`(
            driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("a", "counter", on: driver, port: port)
            entry.restart = .never
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: counter.path, port: port)
                guard let worker = try supervisor.status("a").workerPID else {
                    throw HarnessError("no worker")
                }
                kill(worker, SIGKILL)
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
                gdb.begin("continue")
                try gdb.waitForText("Program terminated with signal SIGKILL")
            }
        }

        /// A supervisor with guests in several situations, and gdb attached to one.
        private func withBusySupervisor(
            _ body: (RunningSupervisor, [Int32], InteractiveGDB) throws -> Void
        ) throws {
            let port = try RunningSupervisor.freePort()
            let held = try RunningSupervisor.freePort()
            let entries =
                [SandboxEntry("debugged", "counter", port: port)]
                + Driver.present.map { SandboxEntry("spins-\($0)", "tests/spin", on: $0) }
                + [SandboxEntry("held", "counter", on: Driver.present[0], port: held)]
            try RunningSupervisor.with(entries) { supervisor in
                for driver in Driver.present {
                    try supervisor.waitForEvent(
                        "spins-\(driver)", "sandbox.state", containing: "-> running")
                }
                try supervisor.waitForHeldGuest("debugged")
                try supervisor.waitForHeldGuest("held")
                let gdb = try InteractiveGDB(symbols: counter.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                // One worker each, and stubs for the two with a port.
                let children = supervisor.children
                #expect(children.count == entries.count + 2)
                try body(supervisor, children, gdb)
            }
        }

        @Test
        func `12: supervisor killed: no worker or stub is left after a second`() throws {
            try withBusySupervisor { supervisor, children, _ in
                supervisor.program.signal(SIGKILL)
                let killed = ContinuousClock.now
                try Deadline.wait(.seconds(1), for: "the end of all children") {
                    _ = supervisor.program.reap()
                    return !children.contains(where: processLives)
                }
                let milliseconds = (ContinuousClock.now - killed) / .milliseconds(1)
                print("measured: supervisor killed, all gone after", [milliseconds].text, "ms")
                try #expect(supervisor.program.waitForEnd(.seconds(5)) == .signal(SIGKILL))
            }
        }

        @Test(arguments: [SIGTERM, SIGINT])
        func `12: SIGTERM and SIGINT: everything is gone, exit code 0`(signal: Int32) throws {
            try withBusySupervisor { supervisor, children, _ in
                supervisor.program.signal(signal)
                try #expect(supervisor.program.waitForEnd(.seconds(10)) == .exit(0))
                #expect(!children.contains(where: processLives))
                #expect(!FileManager.default.fileExists(atPath: supervisor.socket))
                #expect(supervisor.log.contains { $0.event == "supervisor.stopped" })
            }
        }

        @Test
        func `F29: a second supervisor at the same place is refused, the first goes on`() throws {
            try RunningSupervisor.with([SandboxEntry("a", "counter", startup: "run")]) {
                supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let second = try RunningProgram(
                    Machine.program("hyperlight-supervisor"),
                    ["--config", supervisor.folder + "/s.json", "--socket", supervisor.socket])
                defer { second.end() }
                let start = ContinuousClock.now
                try #expect(second.waitForEnd(.seconds(5)) == .exit(73))
                let milliseconds = (ContinuousClock.now - start) / .milliseconds(1)
                print("F29: the second supervisor ended after", [milliseconds].text, "ms")
                // It touched nothing: control and debug socket are still those of the first.
                try #expect(supervisor.status("a").state == .running)
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test(
            .enabled(
                if: Machine.wasmRuntime != nil,
                "the wasm runtime guest is not in .deps/guests; tools/setup fetches it"))
        func `13: the wasm runtime is debugged on the emulator and reaches ready`() throws {
            let path = try #require(Machine.wasmRuntime)
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("wasm", path, port: port)
            entry.abi = "hyperlight"
            entry.memory = [
                "heap": "8MiB", "scratch": "32MiB", "inputData": "64KiB", "outputData": "64KiB",
            ]
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("wasm")
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "break hyperlight_main", "continue",
                        "bt",
                        "info registers rip", "delete", "detach",
                    ], file: path, .seconds(60))
                #expect(text.contains(#/Breakpoint 1, .*hyperlight_main/#), "\(text)")
                #expect(text.contains(#/#0 .*hyperlight_main/#), "\(text)")
                #expect(text.contains("detached"), "\(text)")
                try supervisor.waitForEvent(
                    "wasm", "sandbox.state", containing: "-> ready", .seconds(60))
                try #expect(supervisor.status("wasm").state == .ready)
            }
        }
    }
}
