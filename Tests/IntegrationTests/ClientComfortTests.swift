import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// What the stub does for its clients beyond stops, registers and memory.
    @Suite(.serialized)
    struct ClientComforts {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        private func debug(
            _ driver: Driver, _ commands: [String], guest: String = "counter",
            target: String = "remote", file: String? = nil
        ) throws -> String {
            let port = try RunningSupervisor.freePort()
            return try RunningSupervisor.with([SandboxEntry("a", guest, on: driver, port: port)]) {
                try $0.waitForHeldGuest("a")
                let worker = try $0.status("a").workerPID
                let attach = "target \(target) 127.0.0.1:\(port)"
                let text = try GDB.run([attach] + commands, file: file)
                try #expect(worker != nil && $0.status("a").workerPID == worker)
                return text
            }
        }

        @Test(arguments: Driver.present, ["counter", "counter-pie"])
        func `gdb needs no file: the address alone stops at a line of the source`(
            driver: Driver, guest: String
        ) throws {
            let text = try debug(
                driver, ["break tick", "continue", "bt", "print ticks", "detach"], guest: guest)
            #expect(text.contains("Reading /guest/\(guest)"), "\(text)")
            #expect(text.contains("Breakpoint 1, tick () at"), "\(text)")
            #expect(text.contains(#/#3 .* in guest_main \(\)/#), "\(text)")
            #expect(text.contains("$1 = 0"), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `gdb's find asks the stub`(driver: Driver) throws {
            let text = try debug(
                driver,
                [
                    "set debug remote 1",
                    "find /b names[0], +64, 's', 'u', 'm'", "find /b names[0], +8, 'x', 'y'",
                    "set debug remote 0", "detach",
                ], file: image.path)
            #expect(text.contains("qSearch:memory:"), "\(text)")
            #expect(text.contains("1 pattern found."), "\(text)")
            #expect(text.contains("Pattern not found."), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `gdb calls a function of the guest, which comes back over the stack`(
            driver: Driver
        ) throws {
            let text = try debug(
                driver,
                [
                    "break advance", "continue", "delete", "print ticks", "call (void)tick()",
                    "call (void)tick()", "print ticks", "bt 1", "stepi", "detach",
                ], file: image.path)
            #expect(text.contains("$1 = 0"), "\(text)")
            #expect(text.contains("$2 = 2"), "\(text)")
            #expect(text.contains(#/#0 +advance \(/#), "\(text)")
            #expect(text.contains("detached"), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `the one thread has a name`(driver: Driver) throws {
            let text = try debug(driver, ["info threads", "detach"], file: image.path)
            #expect(text.contains("\"vcpu0\""), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `monitor help lists the commands and an unknown one says where to look`(
            driver: Driver
        ) throws {
            let text = try debug(
                driver, ["monitor help", "monitor nonsense", "detach"], file: image.path)
            #expect(text.contains("translate ADDR"), "\(text)")
            #expect(text.contains("unknown command; try 'monitor help'"), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `compare-sections finds memory as the file has it, breakpoints or not`(
            driver: Driver
        ) throws {
            let text = try debug(
                driver, ["break tick", "continue", "compare-sections .text", "detach"],
                file: image.path)
            #expect(text.contains(#/Section .text, range .*: matched\./#), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `run begins the guest anew in the worker that it has`(driver: Driver) throws {
            let text = try debug(
                driver,
                [
                    "break tick", "continue", "continue", "continue", "print ticks", "run",
                    "print ticks", "continue", "print ticks", "detach",
                ], target: "extended-remote", file: image.path)
            #expect(text.contains("$1 = 2"), "\(text)")
            #expect(text.contains("$2 = 0"), "\(text)")
            #expect(text.contains("$3 = 1"), "\(text)")
            #expect(text.contains("detached"), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `extended-remote attaches to what is there`(driver: Driver) throws {
            let text = try debug(
                driver, ["break tick", "continue", "bt 1", "detach"], target: "extended-remote",
                file: image.path)
            #expect(text.contains("Breakpoint 1, tick () at"), "\(text)")
            #expect(text.contains("detached"), "\(text)")
        }
    }
}
