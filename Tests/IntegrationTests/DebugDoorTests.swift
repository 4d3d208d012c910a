import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Who gets to a debug door, and who does not.
    @Suite(.serialized)
    struct DebugDoors {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// Everything that a browser might send, with packets that would change the guest.
        static let requests: [[UInt8]] = {
            let packets = ["qSupported", "?", "P10=0000000000000000", "vCont;c", "D", "k"]
            let body = packets.map {
                String(decoding: RSPClient.packet(Array($0.utf8)), as: UTF8.self)
            }
            .joined()
            return [
                "GET /?\(body) HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: \(body)\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)",
                "OPTIONS /\(body) HTTP/1.1\r\nAccess-Control-Request-Method: \(body)\r\n\r\n",
                "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: \(body)\r\n\r\n\(body)",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\(body)",
                // TLS, of which a server's name is what a page's author likes.
                "\u{16}\u{3}\u{1}\(body)",
                "\r\n\(body)",
            ].map { Array($0.utf8) }
        }()

        @Test(arguments: requests.indices)
        func `a browser's request full of packets is closed and changes no guest`(
            request: Int
        ) throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let before = try supervisor.statusAtOnce("a")
                let browser = try RSPClient(.port(port))
                browser.send(raw: Self.requests[request])
                #expect(browser.isClosed(within: .seconds(5)))
                let line = try supervisor.waitForEvent(
                    "a", "debug.rejected", containing: "the first byte is not a debugger's")
                #expect(line.level == "warn" && line.msg.hasPrefix("127.0.0.1:"), "\(line.msg)")
                let after = try supervisor.statusAtOnce("a")
                #expect(after.state == .waiting && after.stubPID == before.stubPID)
                #expect(!supervisor.log.contains { $0.event == "debug.attached" })
                try supervisor.stopping("a") { client in
                    try #expect(client.readRegister(16) == image.entry)
                }
            }
        }

        @Test(arguments: Driver.sample)
        func `nothing that a refused client sends first changes the guest`(
            driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let first = try RSPClient(.port(port))
                try first.attach()
                let tick = String(try image.address(of: "tick"), radix: 16)
                let ticks = String(try image.address(of: "ticks"), radix: 16)
                let packets = [
                    "g", "m\(tick),8", "M\(ticks),8:0100000000000000", "Z0,\(tick),1", "c",
                    "vCont;c", "vCont;s", "s", "k", "vKill;400001", "D", "D1",
                    "P10=0000000000000000",
                    "vRun;", "R00", "qRcmd,64756d70",
                ].map { RSPClient.packet(Array($0.utf8)) }
                let all = Array(packets.joined())
                let before = try first.ask("g")
                for segment in packets + [all, [3] + all, [3, 3, 3]] + Self.requests {
                    let second = try RSPClient(.port(port))
                    second.send(raw: segment)
                    second.endSending()
                    // Words or nothing, and nothing else.
                    let answer = try? second.receive()
                    let words = "E.another debugger is attached (127.0.0.1:"
                    #expect(answer?.hasPrefix(words) ?? true, "\(answer ?? "")")
                    #expect(throws: HarnessError.self) { try second.receive(.milliseconds(10)) }
                    try #expect(first.ask("g") == before)
                    try #expect(first.readWord(at: image.address(of: "ticks")) == 0)
                }
                // The guest still runs only when its client wants it to, and then stops only so.
                first.send("vCont;c")
                for segment in packets + [all, [3], [3, 3, 3]] + Self.requests {
                    let second = try RSPClient(.port(port))
                    second.send(raw: segment)
                    second.endSending()
                    _ = second.isClosed(within: .seconds(5))
                }
                #expect(throws: HarnessError.self) { try first.receive(.milliseconds(50)) }
                first.send(raw: [3])
                try #expect(first.receive().hasPrefix("T02"))
                try first.detach()
                try supervisor.expectTicking("a", image)
                try supervisor.expectOriginalCode("a", image, ["tick"])
            }
        }

        @Test
        func `a storm of browsers gets a share of the log and no more`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let start = wallClockSeconds()
                for _ in 0..<2000 {
                    let browser = try RSPClient(.port(port))
                    browser.send(raw: Array("GET".utf8))
                    #expect(browser.isClosed(within: .seconds(5)))
                }
                let seconds = wallClockSeconds() - start
                let records = supervisor.log.filter { $0.event == "debug.rejected" }.count
                print("measured: 2000 rejections in", [seconds].text, "s:", records, "records")
                // A record costs 64 bytes of the budget beside its text.
                #expect(Double(records) <= (seconds + 1) * 65536 / 64)
                try supervisor.expectTicking("a", image)
            }
        }

        @Test
        func `the door is a literal loopback address, and a socket beside it`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                #expect(Self.listeningAddresses(port) == ["0100007F"])
                let status = try supervisor.statusAtOnce("a")
                #expect(status.debug.address == "127.0.0.1:\(port)")
                #expect(!supervisor.log.contains { $0.event == "debug.remote" })
                try #expect(RSPClient(supervisor.debugSocket("a")).attach().hasPrefix("T05"))
            }
        }

        /// Local addresses that listen on a port, IPv4 and IPv6, as the kernel writes them.
        private static func listeningAddresses(_ port: UInt16) -> [String] {
            let wanted = String(format: "%04X", port)
            return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap { path -> [String] in
                guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                    return []
                }
                return text.split(separator: "\n").dropFirst().compactMap { line in
                    let words = line.split(separator: " ")
                    let local = words[1].split(separator: ":")
                    // 0A: listening.
                    return words[3] == "0A" && local[1] == wanted ? String(local[0]) : nil
                }
            }
        }

        @Test(.enabled(if: NetworkNamespaces.areUsable, "needs root and the program ip"))
        func `an address that others reach is warned about at each start`() throws {
            let network = try NetworkNamespaces()
            var entry = SandboxEntry("a", "counter", port: 9001)
            entry.debug.address = network.serverAddress
            entry.debug.allowRemote = true
            for _ in 0..<2 {
                try RunningSupervisor.with([entry], starter: network.inServer) { supervisor in
                    let line = try supervisor.waitForEvent("a", "debug.remote")
                    #expect(line.level == "warn", "\(line.level)")
                    #expect(line.msg.contains("\(network.serverAddress):9001"), "\(line.msg)")
                    try supervisor.waitForHeldGuest("a")
                    try #expect(RSPClient(supervisor.debugSocket("a")).attach().hasPrefix("T05"))
                }
            }
        }

        @Test
        func `F12: a second client sees words and nothing of the guest, the first goes on`() throws
        {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let first = try RSPClient(.port(port))
                try first.attach()
                let second = try RSPClient(.port(port))
                // All at once, as from somebody who does not wait for answers.
                for body in ["qSupported:error-message+", "?", "g", "m100000,10", "c", "k"] {
                    second.send(body)
                }
                let answer = try second.receive()
                #expect(answer.hasPrefix("E.another debugger is attached (127.0.0.1:"), "\(answer)")
                #expect(throws: HarnessError.self) { try second.receive(.milliseconds(100)) }
                #expect(second.isClosed(within: .seconds(5)))
                try supervisor.waitForEvent(
                    "a", "debug.rejected", containing: "another debugger is attached")
                try #expect(first.readRegister(16) == image.entry)
                try first.detach()
            }
        }
    }
}
