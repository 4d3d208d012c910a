import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// What the settings of `debug` change.
    @Suite(.serialized)
    struct DebugSettings {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        @Test(arguments: Driver.sample)
        func `onDisconnect stop: a guest whose gdb was killed stands for the next one`(
            driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("a", "counter", on: driver, port: port)
            entry.debug.onDisconnect = "stop"
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: image.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                gdb.kill()
                try supervisor.waitForEvent("a", "debug.detached")
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "info symbol $pc", "output ticks",
                        "stepi", "stepi", "stepi", "output ticks", "detach",
                    ], file: image.path)
                #expect(text.contains("tick"), "\(text)")
                try #expect(supervisor.status("a").state != .crashed)
            }
        }

        @Test(arguments: Driver.sample)
        func `onKill terminate: gdb's kill command ends the guest`(driver: Driver) throws {
            let port = try RunningSupervisor.freePort()
            var entry = SandboxEntry("a", "counter", on: driver, port: port)
            entry.debug.onKill = "terminate"
            // Not even then it comes back: a client that ends a guest does not mean "again".
            entry.restart = SandboxEntry.Restart(policy: "always")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                guard let worker = try supervisor.status("a").workerPID else {
                    throw HarnessError("no worker")
                }
                _ = try GDB.run(
                    ["target remote 127.0.0.1:\(port)", "break tick", "continue", "kill"],
                    file: image.path)
                try Deadline.wait(.seconds(5), for: "the worker's end") { !processLives(worker) }
                try Deadline.wait(.seconds(5), for: "the end of its stub") {
                    supervisor.children.isEmpty
                }
                let status = try supervisor.status("a")
                #expect(status.state == .stopped && status.retryMilliseconds == nil)
            }
        }

        @Test
        func `waitTimeout: a held guest runs on when nobody comes`() throws {
            var entry = SandboxEntry("a", "counter", port: try RunningSupervisor.freePort())
            entry.debug.waitTimeout = "300ms"
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "waiting -> running")
                try supervisor.expectTicking("a", image)
            }
        }

        @Test
        func `the driver that "auto" chooses is a full one and has its reason in the status`()
            throws
        {
            var entry = SandboxEntry("a", "counter", startup: "run")
            entry.hypervisor = "auto"
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let driver = try #require(try supervisor.status("a").driver)
                #expect(driver.reason?.isEmpty == false)
                #expect(!driver.isLimited)
            }
        }

        @Test(arguments: Driver.sample, ["serve", "once"])
        func `a guest of the Hyperlight ABI becomes ready, or ends there`(
            driver: Driver, mode: String
        ) throws {
            var entry = SandboxEntry("a", "tests/tiny-hyperlight", on: driver)
            entry.abi = "hyperlight"
            entry.mode = mode
            try RunningSupervisor.with([entry]) { supervisor in
                let end = mode == "once" ? "-> finished" : "-> ready"
                try supervisor.waitForEvent("a", "sandbox.state", containing: end)
            }
        }

        @Test(arguments: Driver.sample)
        func `a guest that stands costs no processor time`(driver: Driver) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: image.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> stopped")
                let processes = [supervisor.program.processID] + supervisor.children
                let start = processes.map(processorSeconds)
                // The interval that is measured, not a wait for something.
                poll(nil, 0, 500)
                let used = zip(processes.map(processorSeconds), start).map { 1000 * ($0 - $1) }
                print("measured: processor time of half a second (\(driver)), ms:", used.text)
                #expect(used.allSatisfy { $0 < 5 })
                try gdb.command("detach")
            }
        }

        @Test(arguments: Driver.sample)
        func `a crash without a debugger ends that sandbox alone, with the reason`(
            driver: Driver
        ) throws {
            let entries = ["fault", "triple", "badport"].map {
                var entry = SandboxEntry($0, "tests/\($0)", on: driver)
                entry.restart = .never
                return entry
            }
            let good = SandboxEntry("good", "counter", on: driver, startup: "run")
            try RunningSupervisor.with(entries + [good]) { supervisor in
                for entry in entries {
                    let line = try supervisor.waitForEvent(
                        entry.name, "sandbox.state", containing: "-> failed")
                    #expect(line.msg.contains("the guest crashed: "), "\(line.msg)")
                    try #expect(supervisor.status(entry.name).state == .failed)
                }
                try supervisor.expectTicking("good", image)
            }
        }

        @Test(arguments: Driver.sample)
        func `a crash under a debugger is a signal, and the guest can be read`(
            driver: Driver
        ) throws {
            let guest = try GuestImage.named("tests/fault")
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "tests/fault", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "continue", "output/x $pc", "echo \\n",
                        "output/x $rbx", "x/4xb $pc", "detach",
                    ], file: guest.path)
                #expect(text.contains("SIGSEGV"), "\(text)")
                let place = String(try guest.address(of: "faulting_store"), radix: 16)
                #expect(text.contains("0x\(place)\n"), "\(text)")
                #expect(text.contains("0x7000000000"), "\(text)")
            }
        }
    }
}
