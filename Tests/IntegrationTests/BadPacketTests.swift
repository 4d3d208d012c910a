import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Bytes on a debug port that no debugger would send: the stub lives, the guest goes on.
    @Suite(.serialized)
    struct BadPackets {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// Things to send, in order, before the connection is dropped.
        struct Abuse: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let bytes: [UInt8]

            init(_ name: String, _ bytes: [UInt8]) {
                testDescription = name
                self.bytes = bytes
            }

            init(_ name: String, _ text: String) { self.init(name, Array(text.utf8)) }
        }

        static let abuses: [Abuse] = {
            var noise = SeededNoise(state: 42)
            return [
                Abuse("nothing", ""),
                Abuse("noise", (0..<100_000).map { _ in noise.next() }),
                Abuse("half a packet", "$m1000,"),
                Abuse("half a checksum", "+$g#6"),
                Abuse("wrong checksums", String(repeating: "$g#00", count: 1000)),
                Abuse("a checksum that is no number", "$g#zz"),
                Abuse(
                    "a packet of 1 MiB", RSPClient.packet([UInt8](repeating: 0x61, count: 1 << 20))),
                Abuse(
                    "1 MiB without an end",
                    [UInt8(ascii: "$")] + [UInt8](repeating: 0x61, count: 1 << 20)),
                Abuse("interrupts", [UInt8](repeating: 3, count: 10_000)),
                Abuse("refusals of nothing", String(repeating: "-", count: 10_000)),
                Abuse("dollars", String(repeating: "$", count: 10_000)),
                Abuse("a web browser", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                Abuse("a run-length bomb", RSPClient.packet(Array("m0*~*~*~*~*~*~".utf8))),
            ]
        }()

        @Test(arguments: abuses)
        func `a client that sends nonsense harms nobody`(abuse: Abuse) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", port: port, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let before = try supervisor.status("a")
                for _ in 0..<2 {
                    let client = try RSPClient(.port(port))
                    client.send(raw: abuse.bytes)
                    // Whether the stub answers or closes is its business.
                    _ = try? client.receive(.milliseconds(50))
                }
                try expectUnharmed(supervisor, port, since: before)
            }
        }

        @Test
        func `nonsense in the middle of a session is answered and the session goes on`() throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let before = try supervisor.status("a")
                try talkNonsense(try RSPClient(.port(port)))
                try expectUnharmed(supervisor, port, since: before)
            }
        }

        /// Says things that make no sense; the session is good at its end.
        private func talkNonsense(_ client: RSPClient) throws {
            try #expect(client.attach().hasPrefix("T05"))
            // Not supported: the empty reply.
            for body in ["bc", "bs", "qNonsense", "vNonsense;1", "!x", "Z9,0,1", "X"] {
                let reply = try client.ask(body)
                #expect(reply.isEmpty || reply.hasPrefix("E"), "\(body) -> \(reply)")
            }
            // Malformed: an error, never silence.
            let malformed = [
                "m", "m,", "mzz,8", "m0", "M0,8:00", "p", "pzz", "P0=1", "P0=zz", "Z0",
                "Z0,zz,1",
                "Hg", "T", "vCont;", "vCont;s:zz", "vCont;q", "qXfer:features:read:target.xml:",
                "mffffffffffffffff,ffffffffffffffff", "m8000000000000000,10", "Gzz", "G0",
                "P10=0102030405060708090a",
            ]
            for body in malformed {
                let reply = try client.ask(body)
                #expect(reply.isEmpty || reply.hasPrefix("E"), "\(body) -> \(reply)")
            }
            try #expect(client.readRegister(16) == image.entry)
            try client.detach()
        }

        /// The same stub and worker serve a debugger as if nothing had been.
        private func expectUnharmed(
            _ supervisor: RunningSupervisor, _ port: UInt16, since before: SandboxStatus
        ) throws {
            let text = try GDB.run(
                ["target remote 127.0.0.1:\(port)", "break tick", "continue", "detach"],
                file: image.path)
            #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
            let after = try supervisor.status("a")
            #expect(after.stubPID == before.stubPID)
            #expect(after.workerPID == before.workerPID)
            try supervisor.expectTicking("a", image)
        }
    }
}

/// Bytes that look random and are the same in every run (xorshift).
struct SeededNoise {
    var state: UInt64

    mutating func next() -> UInt8 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state >> 32)
    }
}
