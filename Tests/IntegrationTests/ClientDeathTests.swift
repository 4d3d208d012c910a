import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// gdb is interrupted or killed: the guest goes on.
    @Suite(.serialized)
    struct ClientsThatDie {
        private static let repetitions = 20
        private static let goesOnWithinMilliseconds = 10.0 * Machine.slowness
        private let image: GuestImage

        init() throws { image = try GuestImage.named(Ticker.guest) }

        /// Runs `body` with a ticker that ticks, and its debug port.
        private func withTicker(
            _ driver: Driver, _ body: (RunningSupervisor, UInt16) throws -> Void
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try Ticker.start(supervisor, "a", image)
                try body(supervisor, port)
            }
        }

        @Test(arguments: Driver.present)
        func `4: Ctrl-C stops a spinning guest, continue goes on`(driver: Driver) throws {
            let spin = try GuestImage.named("tests/spin")
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "tests/spin", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let gdb = try InteractiveGDB(symbols: spin.path, port: port)
                var counts: [UInt64] = []
                for _ in 0..<3 {
                    try supervisor.waitForWork("a") {
                        gdb.begin("continue")
                        try gdb.waitForText("Continuing.")
                    }
                    gdb.interrupt()
                    try gdb.waitForText("Program received signal SIGINT")
                    try gdb.waitForText("@@done@@")
                    let text = try gdb.command("output (unsigned long)spins")
                    counts.append(text.firstMatch(of: /\d+/).flatMap { UInt64($0.output) } ?? 0)
                }
                #expect(counts == counts.sorted() && Set(counts).count == 3, "\(counts)")
                try gdb.command("detach")
            }
        }

        @Test(arguments: Driver.present)
        func
            `5a, F8: gdb killed while stopped at one of two breakpoints: the guest goes on unharmed`(
                driver: Driver
            ) throws
        {
            try withTicker(driver) { supervisor, port in
                let worker = try supervisor.status("a").workerPID
                var ends: [Double] = []
                var times: [Double] = []
                for _ in 0..<Self.repetitions {
                    let gdb = try InteractiveGDB(symbols: image.path, port: port)
                    try gdb.command("break tick")
                    try gdb.command("break print_scalar")
                    // Whichever of the two comes first.
                    try #expect(gdb.command("continue").contains("Breakpoint "))
                    let killed = gdb.kill()
                    try gdb.program.waitForEnd(.seconds(5))
                    // The system takes gdb's memory apart first and closes its connection then: some
                    // milliseconds in which no stub can know.
                    let gone = wallClockSeconds()
                    ends.append(1000 * (gone - killed))
                    times.append(
                        1000 * (try supervisor.secondsToPrint("a", since: gone, .seconds(2))))
                }
                print("measured: gdb's own end (\(driver)), ms:", ends.sorted().text)
                try judge("gdb gone while the guest stood (\(driver))", times, supervisor)
                try supervisor.expectOriginalCode("a", image, ["tick", "print_scalar"])
                try supervisor.expectTicking("a", image)
                try #expect(supervisor.status("a").workerPID == worker)
            }
        }

        @Test(arguments: Driver.present)
        func `5b, F8: gdb killed while the guest runs: it goes on without a break`(
            driver: Driver
        ) throws {
            try withTicker(driver) { supervisor, port in
                let worker = try supervisor.status("a").workerPID
                var breaks: [Double] = []
                for _ in 0..<Self.repetitions {
                    let gdb = try InteractiveGDB(symbols: image.path, port: port)
                    // In the guest's image, not in its path.
                    try gdb.command("break _start")
                    gdb.begin("continue")
                    try gdb.waitForText("Continuing.")
                    try supervisor.secondsToPrint("a", since: wallClockSeconds(), .seconds(2))
                    let killed = gdb.kill()
                    try supervisor.secondsToPrint("a", since: killed + 0.1, .seconds(2))
                    breaks.append(longestBreak(supervisor, from: killed, to: killed + 0.1))
                    try gdb.program.waitForEnd(.seconds(5))
                }
                try judge(
                    "longest pause, gdb killed while the guest ran (\(driver))", breaks, supervisor)
                try supervisor.expectOriginalCode("a", image, ["_start", "tick"])
                try supervisor.expectTicking("a", image)
                try #expect(supervisor.status("a").workerPID == worker)
            }
        }

        /// The longest time in milliseconds without a line between the two times.
        private func longestBreak(
            _ supervisor: RunningSupervisor, from start: Double, to end: Double
        ) -> Double {
            let times =
                [start] + supervisor.printTimes("a", since: start).filter { $0 <= end } + [end]
            return 1000 * (zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? .infinity)
        }

        /// Prints the times, and fails when their median is above what was promised.
        private func judge(
            _ what: String, _ times: [Double], _ supervisor: RunningSupervisor
        ) throws {
            let undisturbed = try (0..<5).map { _ in
                let start = wallClockSeconds()
                try supervisor.secondsToPrint("a", since: start + 0.1, .seconds(2))
                return longestBreak(supervisor, from: start, to: start + 0.1)
            }
            // On a busy machine a guest that nobody debugs pauses too; that is not the stub's doing.
            let isBusy = undisturbed.median > Self.goesOnWithinMilliseconds / 2
            let limit = Self.goesOnWithinMilliseconds + (isBusy ? undisturbed.median : 0)
            print(
                "measured: \(what), ms: median \([times.median].text), limit \([limit].text), all",
                times.sorted().text, "undisturbed", undisturbed.sorted().text)
            #expect(times.median <= limit, "\(times.text)")
        }

        @Test(arguments: Driver.present, [false, true])
        func
            `F8: a connection closed or reset at a breakpoint: the guest goes on, the stub listens`(
                driver: Driver, isReset: Bool
            ) throws
        {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let before = try supervisor.statusAtOnce("a")
                var times: [Double] = []
                for _ in 0..<Self.repetitions {
                    let left = try leaveAtBreakpoint(port, byReset: isReset)
                    times.append(
                        1000 * (try supervisor.secondsToPrint("a", since: left, .seconds(2))))
                    try supervisor.expectOriginalCode("a", image, ["tick", "print_scalar"])
                }
                print(
                    "F8: connection \(isReset ? "reset" : "closed") (\(driver)), ms to guest running:",
                    times.sorted().text)
                #expect(times.median <= Self.goesOnWithinMilliseconds)
                let after = try supervisor.statusAtOnce("a")
                #expect(after.stubPID == before.stubPID && after.workerPID == before.workerPID)
                try supervisor.waitForEvent("a", "debug.detached", containing: "connection lost")
            }
        }

        /// Goes away from a guest that stands at a breakpoint, whose next act is to print; when.
        private func leaveAtBreakpoint(_ port: UInt16, byReset: Bool) throws -> Double {
            let client = try RSPClient(.port(port))
            try client.attach()
            let tick = String(try image.address(of: "tick"), radix: 16)
            try #expect(client.ask("Z0,\(tick),1") == "OK")
            try #expect(client.ask("vCont;c").contains("swbreak"))
            try Ticker.printsNext(client, image)
            // Before it goes: the guest may have printed its only line when this thread comes back.
            let left = wallClockSeconds()
            if byReset { client.endByReset() }
            return left
        }

        @Test(arguments: Driver.present, ["kill", "quit", "disconnect"])
        func `gdb leaves by other ways than detach: the guest goes on`(
            driver: Driver, way: String
        ) throws {
            try withTicker(driver) { supervisor, port in
                let gdb = try InteractiveGDB(symbols: image.path, port: port)
                try gdb.command("break tick")
                try gdb.command("continue")
                let left = wallClockSeconds()
                gdb.begin(way)
                try supervisor.secondsToPrint("a", since: left, .seconds(2))
                try supervisor.waitForEvent("a", "debug.detached", containing: "")
                try supervisor.expectOriginalCode("a", image, ["tick", "print_scalar"])
                try supervisor.expectTicking("a", image)
            }
        }

        /// What is cut off when a client is gone.
        enum CutOff: String, CaseIterable, Sendable, CustomTestStringConvertible {
            case reply = "a reply that it does not take"
            case packet = "a packet of its own"
            case resume = "a guest that it has just let run"
            case kill = "a bare k, as lldb sends it"

            var testDescription: String { rawValue }
        }

        @Test(arguments: Driver.present, CutOff.allCases)
        func `F8: a client closed or reset in the middle of something: the guest goes on`(
            driver: Driver, cutOff: CutOff
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let before = try supervisor.statusAtOnce("a")
                for isReset in [false, true, false, true] {
                    let left = try leave(port, in: cutOff, byReset: isReset)
                    try supervisor.secondsToPrint("a", since: left, .seconds(2))
                    try supervisor.expectOriginalCode("a", image, ["tick", "print_scalar"])
                    try supervisor.expectTicking("a", image)
                }
                let after = try supervisor.statusAtOnce("a")
                #expect(after.stubPID == before.stubPID && after.workerPID == before.workerPID)
                // It was the client who left.
                let reasons = Set(supervisor.log.filter { $0.event == "debug.detached" }.map(\.msg))
                #expect(
                    reasons.isSubset(of: ["connection lost", "detached by the client"]),
                    "\(reasons)")
            }
        }

        private func leave(_ port: UInt16, in cutOff: CutOff, byReset: Bool) throws -> Double {
            let client = try RSPClient(.port(port), takesLittle: true)
            try client.attach()
            let tick = String(try image.address(of: "tick"), radix: 16)
            let start = String(image.entry, radix: 16)
            try #expect(client.ask("Z0,\(tick),1") == "OK")
            try #expect(client.ask("vCont;c").contains("swbreak"))
            try Ticker.printsNext(client, image)
            switch cutOff {
            case .reply:
                // About 900 KiB, which is more than the connection holds while nobody reads, and
                // less than a stub keeps.
                let question = RSPClient.packet(
                    Array("qXfer:features:read:target.xml:0,3000".utf8))
                client.send(raw: Array(repeatElement(question, count: 80).joined()))
                #expect(client.hears(within: .seconds(5)))
            case .packet: client.send(raw: Array("$M\(tick),8:0000".utf8))
            case .resume:
                try #expect(client.ask("z0,\(tick),1") == "OK")
                // In the guest's image, not in its path.
                try #expect(client.ask("Z0,\(start),1") == "OK")
            case .kill: break
            }
            // As above.
            let left = wallClockSeconds()
            if cutOff == .resume { client.send("vCont;c") }
            if cutOff == .kill { client.send("k") }
            if byReset { client.endByReset() }
            return left
        }

        @Test
        func `F12: a second gdb is refused in words and the first goes on`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let path = Machine.guest("counter")
                let gdb = try InteractiveGDB(symbols: path, port: port)
                let second = try GDB.run(["target remote 127.0.0.1:\(port)"], file: path)
                #expect(second.contains("another debugger is attached"), "\(second)")
                try #expect(gdb.command("info registers rip").contains("_start"))
                try gdb.command("detach")
            }
        }
    }
}
