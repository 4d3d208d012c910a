import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// What gdb sees of a guest that reports an exception, and of steps through its kernel's work.
    @Suite(.serialized)
    struct Exceptions {
        private static let memory = [
            "heap": "8MiB", "scratch": "32MiB", "inputData": "64KiB", "outputData": "64KiB",
        ]

        private func entry(_ path: String, on driver: Driver, port: UInt16) -> SandboxEntry {
            var entry = SandboxEntry("a", path, on: driver, port: port)
            entry.abi = "hyperlight"
            entry.memory = Self.memory
            entry.restart = .never
            return entry
        }

        /// One run of gdb with a guest that is held at its entry point; its log afterwards.
        private func debug(
            _ guest: String, _ driver: Driver, _ commands: [String]
        ) throws -> (text: String, log: [LogLine]) {
            let port = try RunningSupervisor.freePort()
            return try RunningSupervisor.with([entry(guest, on: driver, port: port)]) {
                supervisor in
                try supervisor.waitForHeldGuest("a")
                let attach = "target remote 127.0.0.1:\(port)"
                let text = try GDB.run(
                    [attach] + commands, file: guest.hasPrefix("/") ? guest : Machine.guest(guest),
                    .seconds(60))
                try supervisor.waitForEvent("a", "debug.detached", .seconds(10))
                return (text, supervisor.log)
            }
        }

        struct Provoked: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let symbol: String
            let signal: String
            let reason: String
        }

        static let provoked = [
            Provoked(
                testDescription: "an undefined instruction", symbol: "undefined",
                signal: "SIGILL", reason: "exception #UD (6)"),
            Provoked(
                testDescription: "a store to address 0", symbol: "null_store", signal: "SIGSEGV",
                reason: "exception #PF (14), error 0x2 write, not present, address 0x0"),
            Provoked(
                testDescription: "a division by zero", symbol: "divide", signal: "SIGFPE",
                reason: "exception #DE (0)"),
        ]

        @Test(arguments: Driver.present, provoked)
        func `an exception is a signal at the instruction that caused it`(
            driver: Driver, provoked: Provoked
        ) throws {
            let (text, log) = try debug(
                "tests/kernel", driver,
                [
                    "hbreak main", "continue", "stepi", "set $rcx = 0", "set $rbx = 4711",
                    "set $pc = \(provoked.symbol)", "continue", "info symbol $pc",
                    "output $rbx", "echo \\n", "output/x $rsp", "echo \\n", "kill",
                ])
            #expect(text.contains("signal \(provoked.signal)"), "\(text)")
            #expect(text.contains("\n\(provoked.symbol) in section .text"), "\(text)")
            #expect(text.contains("\n4711\n"), "\(text)")
            #expect(text.contains("0xfffffefffffffff8\n"), "\(text)")
            #expect(log.contains { $0.msg.contains(provoked.reason) })
            #expect(log.contains { $0.isAbout("a", "worker.log", containing: "guest reports: ") })
        }

        @Test(arguments: Driver.present)
        func `stepi over a page that is copied ends at the next instruction`(driver: Driver) throws
        {
            let commands = (0..<4).flatMap { _ in ["stepi", "info symbol $pc"] }
            let (text, _) = try debug(
                "tests/kernel", driver, ["hbreak main", "continue"] + commands + ["detach"])
            for symbol in ["pushed", "store", "stored", "copied"] {
                #expect(text.contains("\n\(symbol) in section .text"), "\(symbol): \(text)")
            }
        }

        @Test(arguments: Driver.present)
        func `a breakpoint in a page that is copied on the way is hit, and never shows`(
            driver: Driver
        ) throws {
            let (text, log) = try debug(
                "tests/kernel", driver,
                [
                    "x/2xb &looped", "break *looped", "continue", "x/2xb &looped", "continue",
                    "delete", "x/2xb &looped", "detach",
                ])
            #expect(text.matches(of: #/Breakpoint 1, .*looped/#).count == 2, "\(text)")
            let bytes = text.matches(of: #/<looped>:\t(0x[0-9a-f]+)\t/#).map(\.1)
            #expect(bytes == ["0xff", "0xff", "0xff"], "\(text)")
            #expect(!log.contains { $0.msg.contains("crash") })
        }

        // MARK: The wasm runtime, a guest of a third party

        struct Written: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let commands: [String]
            let signal: String
            let reason: String
        }

        static let written = [
            Written(
                testDescription: "ud2", commands: ["set {short}$pc = 0x0b0f"],
                signal: "SIGILL", reason: "exception #UD (6)"),
            Written(
                testDescription: "a null store",
                // movq %rcx, 0
                commands: ["set {long}$pc = 0x00250c8948", "set {int}($pc + 4) = 0"],
                signal: "SIGSEGV",
                reason: "exception #PF (14), error 0x2 write, not present, address 0x0"),
            Written(
                testDescription: "a division by zero",
                commands: ["set $rcx = 0", "set {short}$pc = 0xf1f7"],
                signal: "SIGFPE", reason: "exception #DE (0)"),
        ]

        @Test(
            .enabled(
                if: Machine.wasmRuntime != nil,
                "the wasm runtime guest is not in .deps/guests; tools/setup fetches it"),
            arguments: written)
        func `an exception in the wasm runtime shows the registers that it met`(
            written: Written
        ) throws {
            let path = try #require(Machine.wasmRuntime)
            let (text, log) = try debug(
                path, .emulator,
                [
                    "break hyperlight_main", "continue", "set $r13 = 4711",
                    "set $here = $pc",
                ] + written.commands + [
                    "delete", "continue", "output $pc == $here", "echo \\n", "output $r13",
                    "echo \\n", "bt 2", "kill",
                ])
            #expect(text.contains("signal \(written.signal)"), "\(text)")
            #expect(text.contains("\n1\n4711\n"), "\(text)")
            #expect(text.contains(#/#0 .*hyperlight_main/#), "\(text)")
            #expect(log.contains { $0.msg.contains(written.reason) })
            #expect(
                log.contains {
                    $0.isAbout("a", "worker.log", containing: "guest reports: Exception vector")
                })
        }

        @Test(
            .enabled(
                if: Machine.wasmRuntime != nil,
                "the wasm runtime guest is not in .deps/guests; tools/setup fetches it"))
        func `steps through the start of the wasm runtime never show its page fault handler`()
            throws
        {
            let path = try #require(Machine.wasmRuntime)
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([entry(path, on: .emulator, port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let client = try RSPClient(supervisor.debugSocket("a"))
                try client.attach()
                // On its main stack it has everything that real guests have.
                var steps = 0
                while try client.readRegister(7) >> 32 != 0xFFFF_FEFF {
                    try #expect(client.ask("vCont;s").hasPrefix("T05"))
                    steps += 1
                    try #require(steps < 10000)
                }
                for _ in 0..<2000 {
                    try #expect(client.ask("vCont;s").hasPrefix("T05"))
                    // Handlers have a stack of their own.
                    try #expect(client.readRegister(7) >> 32 == 0xFFFF_FEFF)
                }
                try client.detach()
            }
        }
    }
}
