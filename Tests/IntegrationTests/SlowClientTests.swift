import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Clients that are slow, deaf or gone without a word: the guest does not wait for them.
    @Suite(
        .serialized, .enabled(if: Machine.runsLongTests, "long tests: tools/test --soak"))
    struct SlowClients {
        private let image: GuestImage

        init() throws { image = try GuestImage.named(Ticker.guest) }

        /// Runs `body` with a ticker that ticks, and its debug port.
        private func withTicker(_ body: (RunningSupervisor, UInt16) throws -> Void) throws {
            let port = try RunningSupervisor.freePort()
            let entries = [
                SandboxEntry("a", Ticker.guest, port: port),
                SandboxEntry("b", "counter", startup: "run"),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try Ticker.start(supervisor, "a", image)
                try body(supervisor, port)
                try supervisor.expectTicking("a", image)
                try supervisor.expectTicking("b", GuestImage.named("counter"))
            }
        }

        @Test
        func `F10: a packet of one byte a second is closed after 30 s, the guest runs on`() throws {
            try withTicker { supervisor, port in
                let client = try RSPClient(.port(port))
                try client.attach()
                client.send("vCont;c")
                let start = wallClockSeconds()
                client.send(raw: Array("$m1".utf8))
                while !client.isClosed(within: .seconds(1)) {
                    client.send(raw: Array("0".utf8))
                    try supervisor.secondsToPrint("a", since: wallClockSeconds(), .seconds(1))
                    try #require(wallClockSeconds() - start < 40)
                }
                let seconds = wallClockSeconds() - start
                print("F10: a slow packet was given up after", [seconds].text, "s")
                #expect((29...32).contains(seconds))
                try supervisor.waitForEvent(
                    "a", "debug.detached", containing: "a packet did not come to its end")
            }
        }

        @Test
        func `F11: a client that never reads is closed after 5 s, and costs the stub little`()
            throws
        {
            try withTicker { supervisor, _ in
                // A Unix socket: it takes little, so that the rest is the stub's to keep.
                let client = try RSPClient(supervisor.debugSocket("a"))
                try client.attach()
                let stub = try #require(try supervisor.statusAtOnce("a").stubPID)
                let before = residentBytes(stub)
                let question = RSPClient.packet(
                    Array("qXfer:features:read:target.xml:0,3000".utf8))
                let start = wallClockSeconds()
                client.send(raw: Array(repeatElement(question, count: Self.questions).joined()))
                var peak = before
                while !client.breaks(within: .milliseconds(50)) {
                    peak = max(peak, residentBytes(stub))
                    try #require(wallClockSeconds() - start < 20)
                }
                let seconds = wallClockSeconds() - start
                print(
                    "F11: a client that never reads was closed after", [seconds].text,
                    "s; stub's RSS", before >> 10, "KiB before,", peak >> 10, "KiB at most")
                #expect((4.9...7).contains(seconds))
                // What is kept, and what the allocator adds while it is made.
                #expect(peak - before <= 4 << 20)
                try supervisor.waitForEvent("a", "debug.detached", containing: "connection lost")
                try #expect(supervisor.statusAtOnce("a").stubPID == stub)
            }
        }

        /// Questions with about 900 KiB of answers: below what the stub keeps, above what goes.
        private static let questions = 80

        /// Memory of a process that is in use now.
        private func residentBytes(_ processID: Int32) -> Int {
            let text = try? String(contentsOfFile: "/proc/\(processID)/statm", encoding: .utf8)
            let words = text?.split(separator: " ") ?? []
            return words.count > 1 ? (Int(words[1]) ?? 0) * 4096 : 0
        }

        @Test(
            .enabled(if: NetworkNamespaces.areUsable, "needs root and the program ip"),
            arguments: Driver.sample)
        func `F9: the client's machine is gone without a word: the guest goes on within 60 s`(
            driver: Driver
        ) throws {
            let network = try NetworkNamespaces()
            var entry = SandboxEntry("a", Ticker.guest, on: driver, port: 9001)
            entry.debug.address = network.serverAddress
            entry.debug.allowRemote = true
            try RunningSupervisor.with([entry], starter: network.inServer) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let stub = try supervisor.statusAtOnce("a").stubPID
                let gdb = try InteractiveGDB(
                    symbols: image.path, host: network.serverAddress, port: 9001,
                    starter: network.inClient)
                try gdb.command("break tick")
                try gdb.command("continue")
                // The next thing that the guest does is to print.
                try gdb.command("set var ticks = ticks + ticks_per_line")
                let gone = wallClockSeconds()
                try network.cutClientOff()
                let seconds = try supervisor.secondsToPrint("a", since: gone, .seconds(70))
                print("F9: \(driver.rawValue): the guest went on after", [seconds].text, "s")
                #expect((20...60).contains(seconds))
                try supervisor.waitForEvent("a", "debug.detached")
                // The next client is served by the same stub, and finds the original code.
                try supervisor.expectOriginalCode("a", image, ["tick"])
                try #expect(supervisor.statusAtOnce("a").stubPID == stub)
            }
        }

        @Test(
            .enabled(if: NetworkNamespaces.areUsable, "needs root and the program ip"),
            arguments: [false, true])
        func `F9: the client's machine is gone while the guest steps or runs: it goes on`(
            runs: Bool
        ) throws {
            let network = try NetworkNamespaces()
            var entry = SandboxEntry("a", Ticker.guest, port: 9001)
            entry.debug.address = network.serverAddress
            entry.debug.allowRemote = true
            try RunningSupervisor.with([entry], starter: network.inServer) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let stub = try supervisor.statusAtOnce("a").stubPID
                let gdb = try InteractiveGDB(
                    symbols: image.path, host: network.serverAddress, port: 9001,
                    starter: network.inClient)
                try gdb.command("break *_start")
                // One step after the other: what the stub sent last is on its way for ever.
                try supervisor.waitForWork("a") {
                    gdb.begin(runs ? "continue" : "stepi 1000000000")
                }
                let gone = wallClockSeconds()
                try network.cutClientOff()
                try supervisor.waitForEvent("a", "debug.detached", .seconds(70))
                let seconds = wallClockSeconds() - gone
                print(
                    "F9: a client gone while the guest", runs ? "ran" : "stepped",
                    "was given up after", [seconds].text, "s")
                #expect((20...62).contains(seconds))
                try supervisor.expectTicking("a", image)
                try supervisor.expectOriginalCode("a", image, ["tick", "_start"])
                try #expect(supervisor.statusAtOnce("a").stubPID == stub)
            }
        }
    }
}
