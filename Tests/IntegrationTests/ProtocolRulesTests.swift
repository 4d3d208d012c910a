import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Ten rules of the remote protocol that are easy to get wrong, with real processes.
    ///
    /// `SessionCoreTests.ProtocolRuleTests` has the same numbers without any process.
    @Suite(.serialized)
    struct ProtocolRules {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// Runs `body` with a guest that is held at its entry point.
        private func withHeldGuest(
            _ driver: Driver, _ guest: String = "counter",
            _ body: (RunningSupervisor, UInt16) throws -> Void
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", guest, on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                try body(supervisor, port)
            }
        }

        private func hex(_ symbol: String) throws -> String {
            String(try image.address(of: symbol), radix: 16)
        }

        // MARK: 1

        /// Ways to leave, as packets; nil is a connection that ends.
        private static let goodbyes: [String?] = [
            "k", "vKill;a410", "vKill;400001", "vKill;0000000000400001", "D", "D;400001",
            "D;0000000000400001", nil,
        ]

        @Test(arguments: Driver.sample, [false, true])
        func `rule 1, rule 6: no goodbye ends the guest or leaves a breakpoint in it`(
            driver: Driver, isRunning: Bool
        ) throws {
            try withHeldGuest(driver) { supervisor, port in
                let before = try supervisor.statusAtOnce("a")
                for (goodbye, isLLDB) in Self.goodbyes.flatMap({ [($0, false), ($0, true)] }) {
                    try leave(port, goodbye, isLLDB: isLLDB, isRunning: isRunning)
                    try supervisor.expectTicking("a", image)
                    try supervisor.expectOriginalCode("a", image, ["tick", "advance"])
                }
                let after = try supervisor.statusAtOnce("a")
                #expect(after.workerPID == before.workerPID && after.stubPID == before.stubPID)
            }
        }

        private func leave(
            _ port: UInt16, _ goodbye: String?, isLLDB: Bool, isRunning: Bool
        ) throws {
            let client = try RSPClient(.port(port))
            try client.attach()
            if isLLDB { try #expect(client.ask("QThreadSuffixSupported") == "OK") }
            try #expect(client.ask("Z0,\(hex("tick")),1") == "OK")
            try #expect(client.ask("vCont;c").contains("swbreak"))
            // Also one that is not come by: the guest runs with it.
            try #expect(client.ask("Z0,\(String(image.entry, radix: 16)),1") == "OK")
            if isRunning {
                try #expect(client.ask("z0,\(hex("tick")),1") == "OK")
                client.send("vCont;c")
            }
            guard let goodbye else { return }
            client.send(goodbye)
            // A client that is no gdb is told of an end after k (lldb waits for it).
            try #expect(client.receive() == (goodbye == "k" ? "X09" : "OK"))
        }

        // MARK: 2

        @Test
        func `rule 2: gdb's quit detaches, because the guest was there before`() throws {
            try withHeldGuest(.emulator) { supervisor, port in
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "break tick", "continue",
                        "set debug remote 1", "quit",
                    ], file: image.path)
                #expect(text.contains("Sending packet: $D"), "\(text)")
                #expect(!text.contains("vKill") && !text.contains("$k#"), "\(text)")
                try supervisor.expectTicking("a", image)
                try supervisor.stopping("a") { client in
                    try #expect(client.ask("qAttached") == "1")
                    try #expect(client.ask("qAttached:400001") == "1")
                }
            }
        }

        // MARK: 3

        /// Linked where it lies; linked at 0; linked elsewhere and moved.
        private static let places = ["counter", "counter-pie", "tests/counter-moved-down"]

        @Test(arguments: Driver.sample, places)
        func `rule 3: offsets are what gdb and lldb make of them`(
            driver: Driver, guest: String
        ) throws {
            try withHeldGuest(driver, guest) { supervisor, port in
                let image = try GuestImage.named(guest)
                // The file says where the entry point was linked, the guest where it is.
                let (gdb, lldb, rip) = try supervisor.stopping("a") { client in
                    let gdb = try client.ask("qOffsets")
                    let rip = try client.readRegister(16)
                    try #expect(client.ask("QThreadSuffixSupported") == "OK")
                    return (gdb, try client.ask("qOffsets"), rip)
                }
                let moved = rip &- image.entry
                let first = image.firstSegmentAddress &+ moved
                #expect(gdb == "TextSeg=\(String(first, radix: 16))")
                #expect(lldb == "TextSeg=\(String(moved, radix: 16))")
                let text = try GDB.run(
                    [
                        "target remote 127.0.0.1:\(port)", "break tick", "continue", "bt",
                        "print ticks == *(unsigned long *)&ticks", "detach",
                    ], file: image.path)
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                #expect(text.contains(#/#3 .* in guest_main \(\)/#), "\(text)")
                #expect(text.contains("$1 = 1"), "\(text)")
            }
        }

        // MARK: 4

        @Test(arguments: Driver.sample)
        func `rule 4: binary memory begins with b, also when there is none of it`(
            driver: Driver
        ) throws {
            try withHeldGuest(driver) { _, port in
                let client = try RSPClient(.port(port))
                try #expect(client.ask("qSupported:binary-upload+").contains("binary-upload+"))
                try #expect(client.ask("x0,0") == "b")
                try client.attach()
                let tick = try hex("tick")
                try #expect(client.ask("x\(tick),0") == "b")
                let code = try image.bytes(at: image.address(of: "tick"), count: 1)
                client.send("x\(tick),1")
                let wanted = RSPClient.packet(Array("b".utf8) + code)
                try #expect(client.receiveRaw { $0.count >= wanted.count } == wanted)
                try #expect(client.ask("xffffffff00000000,8").hasPrefix("E"))
                try client.detach()
            }
        }

        // MARK: 5

        @Test(arguments: Driver.sample)
        func `rule 5: 0x03 inside a packet is data, behind one it halts`(driver: Driver) throws {
            try withHeldGuest(driver) { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                let ticks = try image.address(of: "ticks")
                let data: [UInt8] = [3, 3, 3, 3, 3, 3, 3, 0]
                let head = Array("X\(try hex("ticks")),8:".utf8)
                client.send(raw: RSPClient.packet(head + data))
                try #expect(client.receive() == "OK")
                try #expect(client.readMemory(at: ticks, count: 8) == data)
                // No halt is left over from it.
                try #expect(client.ask("Z0,\(hex("tick")),1") == "OK")
                try #expect(client.ask("vCont;c").contains("swbreak"))
                try #expect(client.ask("z0,\(hex("tick")),1") == "OK")
                // Behind the resume; and twice, of which one is for nobody.
                client.send(raw: RSPClient.packet(Array("vCont;c".utf8)) + [3, 3])
                try #expect(client.receive().hasPrefix("T02"))
                try #expect(client.ask("qC") == "QC1")
                // Inside a packet to a guest that runs: kept until it stands.
                client.send("vCont;c")
                client.send(raw: RSPClient.packet(head + data))
                #expect(throws: HarnessError.self) { try client.receive(.milliseconds(100)) }
                client.send(raw: [3])
                try #expect(client.receive().hasPrefix("T02"))
                try #expect(client.receive() == "OK")
                try client.detach()
            }
        }

        // MARK: 6

        @Test
        func `rule 6: ids of any width are ours, and ours is no process of this machine`() throws {
            try withHeldGuest(.emulator) { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                for id in ["1", "0001", "0", "-1", "p400001.1", "p0000000000400001.0001", "p-1"] {
                    try #expect(client.ask("Hg\(id)") == "OK", "\(id)")
                }
                let entry = try client.ask("p10")
                try #expect(client.ask("p10;thread:0001;") == entry)
                try #expect(client.ask("Hgp400002.1").hasPrefix("E"))
                let largest = try String(
                    contentsOfFile: "/proc/sys/kernel/pid_max", encoding: .utf8)
                let limit = try #require(
                    Int(largest.trimmingCharacters(in: .whitespacesAndNewlines)))
                let process = try client.ask("qProcessInfo")
                let match = try #require(process.firstMatch(of: #/^pid:([0-9a-f]+);/#))
                #expect(try #require(Int(match.1, radix: 16)) > limit)
                try client.detach()
            }
        }

        // MARK: 7

        @Test(arguments: Driver.sample)
        func `rule 7: an inserted breakpoint is invisible, and once out it is out`(
            driver: Driver
        ) throws {
            try withHeldGuest(driver) { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                let tick = try image.address(of: "tick")
                let name = try hex("tick")
                let code = try image.bytes(at: tick, count: 8)
                // Twice in, once out: gone. Out again: as good.
                for _ in 0..<3 { try #expect(client.ask("Z0,\(name),1") == "OK") }
                try #expect(client.readMemory(at: tick, count: 8) == code)
                let checksum = try client.ask("qCRC:\(name),8")
                for _ in 0..<3 { try #expect(client.ask("z0,\(name),1") == "OK") }
                try #expect(client.readMemory(at: tick, count: 8) == code)
                try #expect(client.ask("qCRC:\(name),8") == checksum)
                // The hit is at the address, again and again, and the guest gets on.
                try #expect(client.ask("Z0,\(name),1") == "OK")
                let ticks = try image.address(of: "ticks")
                for count in 0..<3 as Range<UInt64> {
                    let stop = try client.ask("vCont;c")
                    #expect(stop.contains("swbreak"), "\(stop)")
                    try #expect(client.readRegister(16) == tick)
                    try #expect(client.readWord(at: ticks) == count)
                }
                try client.detach()
                try supervisor.expectOriginalCode("a", image, ["tick"])
            }
        }

        @Test(arguments: Driver.sample)
        func `rule 7: a write at a breakpoint is what is there when it is out`(
            driver: Driver
        ) throws {
            try withHeldGuest(driver) { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                let tick = try image.address(of: "tick")
                let name = try hex("tick")
                let code = try image.bytes(at: tick, count: 4)
                let written: [UInt8] = [0x90, 0xCC, 0x90, code[3]]
                let digits = "90cc90"
                try #expect(client.ask("Z0,\(name),1") == "OK")
                try #expect(client.ask("M\(name),3:\(digits)") == "OK")
                try #expect(client.readMemory(at: tick, count: 4) == written)
                // What is saved is the new byte, also when it is inserted once more.
                try #expect(client.ask("Z0,\(name),1") == "OK")
                try #expect(client.readMemory(at: tick, count: 4) == written)
                try #expect(client.ask("z0,\(name),1") == "OK")
                try #expect(client.readMemory(at: tick, count: 4) == written)
                // Over two breakpoints at once, in the binary form, and back to the original.
                let next = String(tick + 2, radix: 16)
                for place in [name, next] { try #expect(client.ask("Z0,\(place),1") == "OK") }
                client.send(raw: RSPClient.packet(Array("X\(name),4:".utf8) + Self.escaped(code)))
                try #expect(client.receive() == "OK")
                try #expect(client.readMemory(at: tick, count: 4) == code)
                try client.detach()
                try supervisor.expectOriginalCode("a", image, ["tick"])
                try supervisor.expectTicking("a", image)
            }
        }

        private static func escaped(_ bytes: [UInt8]) -> [UInt8] {
            bytes.flatMap { byte in
                Array("#$}*".utf8).contains(byte) ? [UInt8(ascii: "}"), byte ^ 0x20] : [byte]
            }
        }

        // MARK: 8

        @Test(arguments: Driver.sample)
        func `rule 8: not supported is empty, failed is an error`(driver: Driver) throws {
            try withHeldGuest(driver) { _, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                let unsupported = [
                    "vMustReplyEmpty", "qNonsense", "Z9,1000,1", "QNonStop:1", "bs", "qTStatus",
                    "Z3,\(try hex("ticks")),8", "qXfer:auxv:read::0,100",
                ]
                for packet in unsupported { try #expect(client.ask(packet) == "", "\(packet)") }
                let failing = [
                    "mffffffff00000000,8", "Z0,ffffffff00000000,1", "Hg77",
                    "Mffffffff00000000,1:00", "qCRC:ffffffff00000000,8", "p1000", "m", "Z1,0",
                ]
                for packet in failing {
                    let answer = try client.ask(packet)
                    #expect(answer.hasPrefix("E"), "\(packet) -> \(answer)")
                }
                try client.detach()
            }
        }

        // MARK: 9

        @Test(arguments: Driver.sample)
        func `rule 9: questions that need no guest are answered while it cannot be halted`(
            driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let worker = try supervisor.worker("a")
                // A worker that does not come to it for a while.
                kill(worker, SIGSTOP)
                defer { kill(worker, SIGCONT) }
                let client = try RSPClient(.port(port))
                let start = wallClockSeconds()
                for question in [
                    "qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+", "vCont?",
                    "vMustReplyEmpty", "QStartNoAckMode", "Hgp0.0", "qTStatus", "qfThreadInfo",
                    "qsThreadInfo", "qAttached:1", "qC", "qHostInfo", "qProcessInfo",
                    "qThreadExtraInfo,1", "qEcho:7",
                    "qSymbol::", "qWatchpointSupportInfo:",
                ] {
                    try client.ask(question, .seconds(1))
                }
                let seconds = wallClockSeconds() - start
                print("measured: 17 questions while the worker stood, s:", [seconds].text)
                #expect(seconds < 1)
                client.send("?")
                #expect(throws: HarnessError.self) { try client.receive(.milliseconds(100)) }
                kill(worker, SIGCONT)
                try #expect(client.receive().hasPrefix("T05"))
            }
        }

        @Test(arguments: Driver.sample)
        func `rule 9: a guest that spins delays no answer`(driver: Driver) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "tests/spin", on: driver, port: port, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                var times: [Double] = []
                for _ in 0..<20 {
                    let start = wallClockSeconds()
                    let client = try RSPClient(.port(port))
                    try client.attach()
                    times.append(1000 * (wallClockSeconds() - start))
                    try client.detach()
                }
                print(
                    "measured: to attach to a spinning guest (\(driver)), ms:", times.sorted().text)
                #expect(times.median < 500)
            }
        }

        // MARK: 10

        @Test(arguments: Driver.sample)
        func `rule 10: after the guest's end the client closes first`(driver: Driver) throws {
            try withHeldGuest(driver, "hello") { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                try #expect(client.ask("vCont;c") == "W00")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> finished")
                #expect(!client.isClosed(within: .seconds(1)))
                try #expect(client.ask("?") == "W00")
                try #expect(client.ask("qC") == "QC1")
                try #expect(client.ask("m\(hex("tick")),1").hasPrefix("E"))
                #expect(!client.isClosed(within: .milliseconds(100)))
            }
        }

        @Test(arguments: Driver.sample)
        func `rule 10: after the death of the worker the client closes first`(
            driver: Driver
        ) throws {
            try withHeldGuest(driver) { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                client.send("vCont;c")
                kill(try supervisor.worker("a"), SIGKILL)
                try #expect(client.receive() == "X09")
                #expect(!client.isClosed(within: .seconds(1)))
                try #expect(client.ask("?") == "X09")
            }
        }

        @Test(.enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"))
        func `rule 10: a client that does not close has five seconds`() throws {
            try withHeldGuest(.emulator, "hello") { _, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                try #expect(client.ask("vCont;c") == "W00")
                let start = wallClockSeconds()
                #expect(client.isClosed(within: .seconds(10)))
                #expect((4.5...6).contains(wallClockSeconds() - start))
            }
        }
    }
}
