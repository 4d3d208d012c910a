import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// What a debugger sees and does: registers, memory, breakpoints, steps.
    @Suite(.serialized)
    struct Attaching {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// A counter that is held, debugged by one run of gdb.
        private func debug(_ driver: Driver, _ commands: [String]) throws -> String {
            let port = try RunningSupervisor.freePort()
            return try RunningSupervisor.with([SandboxEntry("a", "counter", on: driver, port: port)]
            ) {
                try $0.waitForHeldGuest("a")
                let attach = "target remote 127.0.0.1:\(port)"
                return try GDB.run([attach] + commands, file: image.path)
            }
        }

        private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

        @Test(arguments: Driver.present)
        func `1: gdb finds the guest at its entry point, and symbols resolve`(driver: Driver) throws
        {
            let text = try debug(
                driver,
                [
                    "info registers rip", "print ticks", "break tick", "continue", "bt",
                    "frame 1", "info locals", "print *round", "frame 0", "finish", "next", "stepi",
                    "info symbol $pc", "detach",
                ])
            #expect(text.contains(/rip +(0x[0-9a-f]+)/))
            #expect(text.contains("rip            \(hex(image.entry))"))
            #expect(text.contains("$1 = 0\n"))
            #expect(text.contains("Breakpoint 1, tick () at"))
            #expect(text.contains(/#0 +tick \(\)/))
            #expect(text.contains(/#1 .* in advance \(round=0x[0-9a-f]+, delta=1\)/))
            #expect(text.contains(/#2 .* in step \(/))
            #expect(text.contains(/#3 .* in guest_main \(\)/))
            #expect(text.contains("before = 0"))
            #expect(text.contains("sum = 1"))
            #expect(text.contains("return round->sum - before;"))
            #expect(text.contains(/step \+ \d+ in section .text/))
            #expect(text.contains("detached"))
        }

        @Test(arguments: Driver.present)
        func `1: symbols of a position-independent guest resolve where it was loaded`(
            driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter-pie", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "break tick", "continue", "bt",
                        "continue", "output ticks", "detach",
                    ], file: Machine.guest("counter-pie"))
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                #expect(text.contains(#/#3 .* in guest_main \(\)/#), "\(text)")
                #expect(text.contains("}\n1"), "\(text)")
            }
        }

        @Test(arguments: Driver.present)
        func `1: steps go where the code goes`(driver: Driver) throws {
            let text = try debug(
                driver,
                [
                    "break advance", "continue", "next", "next", "next", "step",
                    "info symbol $pc", "print ticks", "next", "print ticks", "stepi", "stepi",
                    "detach",
                ])
            #expect(text.contains("Breakpoint 1, advance (round="))
            #expect(text.contains(/tick in section .text|tick \+ \d+ in section .text/))
            #expect(text.contains("= 0\n"))
            #expect(text.contains("= 1\n"))
        }

        @Test(arguments: Driver.present)
        func `1: a step after a free run goes where steps from the start went`(
            driver: Driver
        ) throws {
            let entry = SandboxEntry(
                "a", "counter", on: driver, port: try RunningSupervisor.freePort())
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let client = try RSPClient(supervisor.debugSocket("a"))
                try client.attach()
                // The loop has no branch, so every address has one successor.
                let successors = try successors(client)
                for _ in 0..<60 {
                    client.send("vCont;c")
                    client.send(raw: [3])
                    try #expect(client.receive().hasPrefix("T02"))
                    for _ in 0..<3 {
                        let place = try client.readRegister(16)
                        try #expect(client.ask("vCont;s").hasPrefix("T05"))
                        try #expect(client.readRegister(16) == successors[place], "\(hex(place))")
                    }
                }
            }
        }

        /// Where a step leads, for every instruction of the loop; found by stepping around it twice.
        private func successors(_ client: RSPClient) throws -> [UInt64: UInt64] {
            let tick = try image.address(of: "tick")
            var successors: [UInt64: UInt64] = [:]
            var place = try client.readRegister(16)
            var rounds = 0
            while rounds < 3 {
                try #expect(client.ask("vCont;s").hasPrefix("T05"))
                let next = try client.readRegister(16)
                successors[place] = next
                place = next
                if place == tick { rounds += 1 }
            }
            return successors
        }

        @Test(arguments: Driver.present)
        func `2: four hardware breakpoints work, the fifth is refused in words`(
            driver: Driver
        ) throws {
            let text = try debug(
                driver,
                [
                    "hbreak guest_main", "hbreak step", "hbreak advance", "hbreak tick", "continue",
                    "continue", "continue", "continue", "hbreak *\(hex(image.entry))", "continue",
                    "detach",
                ])
            #expect(text.contains("Breakpoint 1, guest_main ()"))
            #expect(text.contains("Breakpoint 2, step ("))
            #expect(text.contains("Breakpoint 3, advance ("))
            #expect(text.contains("Breakpoint 4, tick ()"))
            #expect(text.contains("Cannot insert hardware breakpoint"), "\(text)")
            #expect(text.contains("too many hardware breakpoints"))
        }

        @Test(arguments: Driver.present)
        func `2: the fifth hardware breakpoint is refused with a reason in the protocol`(
            driver: Driver
        ) throws {
            let entry = SandboxEntry(
                "a", "counter", on: driver, port: try RunningSupervisor.freePort())
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                try supervisor.stopping("a") { client in
                    let tick = try image.address(of: "tick")
                    for offset in 0..<UInt64(4) {
                        try #expect(client.ask("Z1,\(String(tick + offset, radix: 16)),1") == "OK")
                    }
                    let refusal = try client.ask("Z1,\(String(tick + 4, radix: 16)),1")
                    #expect(refusal.hasPrefix("E."), "\(refusal)")
                    #expect(refusal.contains("4") || refusal.contains("four"), "\(refusal)")
                }
            }
        }

        @Test(arguments: Driver.present)
        func `2: under a software breakpoint memory shows the original byte`(driver: Driver) throws
        {
            let text = try debug(
                driver,
                [
                    "break tick", "continue", "set var $tick = (char *)&tick",
                    "x/4xb &tick", "continue", "print ticks", "x/4xb $pc", "detach",
                ])
            let original = try image.bytes(at: image.address(of: "tick"), count: 4)
            let bytes = original.map { String(format: "0x%02x", $0) }.joined(separator: "\t")
            #expect(text.contains(bytes), "\(text)")
            #expect(text.contains("$1 = 1"))
        }

        @Test(arguments: Driver.present)
        func `2: memory reads through a software breakpoint are original in the protocol`(
            driver: Driver
        ) throws {
            let entry = SandboxEntry(
                "a", "counter", on: driver, port: try RunningSupervisor.freePort())
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let tick = try image.address(of: "tick")
                let original = try image.bytes(at: tick, count: 24)
                try supervisor.stopping("a") { client in
                    try #expect(client.ask("Z0,\(String(tick, radix: 16)),1") == "OK")
                    try #expect(client.ask("vCont;c").hasPrefix("T05"))
                    try #expect(client.readRegister(16) == tick)
                    try #expect(client.readMemory(at: tick, count: 24) == original)
                    try #expect(client.ask("z0,\(String(tick, radix: 16)),1") == "OK")
                }
                try supervisor.expectTicking("a", image)
            }
        }

        @Test(arguments: Driver.present)
        func `3: the guest sees registers and memory that gdb wrote`(driver: Driver) throws {
            let text = try debug(
                driver,
                [
                    "set var ticks = 1000", "break tick", "continue", "continue", "print ticks",
                    "set var ticks = 500", "continue", "print ticks",
                    // A register: the guest returns the value from a place that gdb chose.
                    "up", "set var round->sum = 40", "finish", "up", "print round->sum", "detach",
                ])
            #expect(text.contains("$1 = 1001"), "\(text)")
            #expect(text.contains("$2 = 501"), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `3: the guest computes with a register that gdb wrote`(driver: Driver) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "tests/spin", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                // `spin` increments rax and stores it.
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "break spin", "continue",
                        "set $rax = 5000", "stepi", "stepi", "output (long)spins", "detach",
                    ], file: Machine.guest("tests/spin"))
                #expect(text.contains("5001"), "\(text)")
            }
        }

        @Test(arguments: Driver.present)
        func `3: every general register keeps its value when another is written`(
            driver: Driver
        ) throws {
            let names =
                ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"]
                + (8...15).map { "r\($0)" }
            let values = names.indices.map {
                UInt64(0x1111_1111_0000_0000) + UInt64($0) * 0x101 + 1
            }
            let writes = zip(names, values).map { "set $\($0) = \($1)" }
            let reads = names.flatMap { ["echo \($0)=", "output/x $\($0)", "echo \\n"] }
            // The instruction at the entry changes ebp alone: all others pass through the guest.
            let text = try debug(
                driver,
                writes + ["maintenance flush register-cache"] + reads + [
                    "stepi", "maintenance flush register-cache",
                ] + reads + ["detach"])
            for (name, value) in zip(names, values) {
                let count = text.split(separator: "\n").count { $0 == "\(name)=\(hex(value))" }
                #expect(count == (name == "rbp" ? 1 : 2), "\(name)\n\(text)")
            }
        }

        @Test
        func `3: SSE registers and segment bases take what gdb writes`() throws {
            let text = try debug(
                .emulator,
                [
                    "set $xmm3.uint128 = 0x1122334455667788", "set $mxcsr = 0x1fa0",
                    "set $fs_base = 0x5000", "stepi", "maintenance flush register-cache",
                    "echo xmm3=", "output/x $xmm3.v2_int64[0]", "echo \\n",
                    "echo fs=", "output/x $fs_base", "echo \\n",
                    "print $mxcsr", "detach",
                ])
            #expect(text.contains("xmm3=0x1122334455667788"), "\(text)")
            #expect(text.contains("fs=0x5000"), "\(text)")
            #expect(text.contains("PE"), "\(text)")
        }

        @Test(arguments: Driver.present)
        func `10: gdb prints "exited normally" when the guest ends`(driver: Driver) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "hello", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let text = try GDB.run(
                    ["target remote 127.0.0.1:\(port)", "continue"], file: Machine.guest("hello"))
                #expect(text.contains("[Inferior 1 (process "), "\(text)")
                #expect(text.contains("exited normally]"), "\(text)")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> finished")
                try Deadline.wait(.seconds(5), for: "the end to be told") {
                    try supervisor.status("a").state == .finished
                }
            }
        }

        @Test(arguments: Driver.present)
        func `14: the documented gdbinit file works as written`(driver: Driver) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let path = supervisor.folder + "/gdbinit"
                let lines = [
                    "file \(image.path)", "target remote :\(port)", "set disassembly-flavor intel",
                ]
                try lines.joined(separator: "\n").write(
                    toFile: path, atomically: true, encoding: .utf8)
                let text = try GDB.run(
                    ["source \(path)", "break tick", "continue", "x/2i $pc", "detach"])
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                #expect(text.contains(/mov +rax,QWORD PTR/), "\(text)")
            }
        }

        @Test
        func `14: gdb takes the documented gdbinit file with its window layout in a terminal`()
            throws
        {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let path = supervisor.folder + "/gdbinit"
                try """
                file \(image.path)
                target remote :\(port)
                set disassembly-flavor intel
                layout src
                """.write(toFile: path, atomically: true, encoding: .utf8)
                // `script` gives gdb the terminal that the window layout needs.
                let gdb = "gdb -nx -q -x \(path) -ex detach -ex 'quit'"
                let program = try RunningProgram(
                    "script", ["-qec", gdb, "/dev/null"], environment: ["TERM": "xterm"])
                defer { program.end() }
                try #expect(program.waitForEnd(.seconds(15)) == .exit(0))
                try supervisor.waitForEvent("a", "debug.detached")
                try supervisor.expectTicking("a", image)
            }
        }
    }
}
