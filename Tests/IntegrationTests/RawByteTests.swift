import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Bytes at the border of what the protocol allows, over TCP, with a guest behind them.
    @Suite(.serialized)
    struct RawBytes {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// Runs `body` with an attached client that acknowledges nothing; all is well afterwards.
        private func withSession(
            _ driver: Driver, _ body: (RSPClient) throws -> Void
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let before = try supervisor.statusAtOnce("a")
                let client = try RSPClient(.port(port))
                try client.attach()
                try body(client)
                try client.detach()
                let after = try supervisor.statusAtOnce("a")
                #expect(after.workerPID == before.workerPID && after.stubPID == before.stubPID)
                try supervisor.expectTicking("a", image)
                try supervisor.expectOriginalCode("a", image, ["tick", "advance"])
            }
        }

        private func hex(_ symbol: String) throws -> String {
            String(try image.address(of: symbol), radix: 16)
        }

        /// A packet of each kind, of which a second one has the same answer.
        private func packets() throws -> [[UInt8]] {
            let (tick, ticks) = (try hex("tick"), try hex("ticks"))
            let texts = [
                "qC", "?", "g", "p10", "p10;thread:0001;", "m\(tick),8", "M\(ticks),2:0000",
                "Z0,\(tick),1", "z0,\(tick),1", "vCont?", "Hgp400001.1", "vMustReplyEmpty",
                "qXfer:features:read:target.xml:0,40", "qCRC:\(tick),8", "qEcho:}\u{3}}\u{4}",
                "qSearch:memory:\(tick);8;zzzz", "vNonsense", "m", "",
            ]
            let binary = [0x7D, 0x03, 0x7D, 0x04, 0x7D, 0x5D, 0x7D, 0x0A, 0x03, 0x00, 0xFF, 0x2B]
            let escaped = Array("X\(ticks),8:".utf8) + binary.map { UInt8($0) }
            return (texts.map { Array($0.utf8) } + [escaped]).map(RSPClient.packet)
        }

        private static let question = RSPClient.packet(Array("qC".utf8))

        @Test(arguments: Driver.sample)
        func `a packet means the same wherever it is cut`(driver: Driver) throws {
            try withSession(driver) { client in
                for packet in try packets() {
                    client.send(raw: packet)
                    let whole = try client.receive()
                    for cut in 0...packet.count {
                        // When the answer to the first packet is there, its segment was taken.
                        client.send(raw: Self.question + packet[..<cut])
                        try #expect(client.receive() == "QC1")
                        client.send(raw: Array(packet[cut...]))
                        if cut == packet.count { continue }
                        let answer = try client.receive()
                        #expect(
                            answer == whole,
                            "\(String(decoding: packet, as: UTF8.self)) cut at \(cut)")
                    }
                    try #expect(client.receive() == whole)
                    for byte in packet { client.send(raw: [byte]) }
                    try #expect(client.receive() == whole)
                }
            }
        }

        @Test(arguments: Driver.sample)
        func `ten packets in one segment get ten answers, in order`(driver: Driver) throws {
            try withSession(driver) { client in
                // Far from the stop, so that the stub does not know them.
                let start = image.firstSegmentAddress
                let bytes = try image.bytes(at: start, count: 10)
                let questions = (0..<10).map { "m\(String(start + UInt64($0), radix: 16)),1" }
                let answers = bytes.map { String(format: "%02x", $0) }
                // Such as the worker is asked for, such as the stub knows, and both mixed.
                let others = [String](repeating: "qC", count: 10)
                try expect(client, questions, answers)
                try expect(client, others, [String](repeating: "QC1", count: 10))
                try expect(
                    client, zip(questions, others).flatMap { [$0, $1] }.suffix(10),
                    answers.flatMap { [$0, "QC1"] }.suffix(10))
            }
        }

        /// Sends all questions in one piece.
        private func expect(
            _ client: RSPClient, _ questions: [String], _ answers: [String]
        ) throws {
            client.send(raw: questions.flatMap { RSPClient.packet(Array($0.utf8)) })
            for (question, answer) in zip(questions, answers) {
                try #expect(client.receive() == answer, "\(question)")
            }
        }

        @Test(arguments: Driver.sample)
        func `an escape at the end of a packet takes the mark behind it with it`(
            driver: Driver
        ) throws {
            try withSession(driver) { client in
                // The body has no end, so what follows belongs to it: one error, and all is well.
                client.send(raw: Array("$qC}#b4".utf8))
                client.send(raw: Self.question)
                try #expect(client.receive().hasPrefix("E"))
                try #expect(client.ask("qC") == "QC1")
                // With its real end it is a packet that nobody knows: q C 0x03.
                client.send(raw: RSPClient.packet(Array("qC}#".utf8)))
                try #expect(client.receive() == "")
                // An escape in front of the checksum's digits, and of a second escape.
                client.send(raw: Array("$}}#".utf8) + Array("fa".utf8))
                try #expect(client.receive() == "")
                client.send(raw: RSPClient.packet(Array("}".utf8)) + Array("#fa".utf8))
                _ = try client.receive()
                try #expect(client.ask("qC") == "QC1")
            }
        }

        @Test(arguments: Driver.sample, [200 << 10, 1 << 20])
        func `a packet that is too long is refused, and the next one served`(
            driver: Driver, byteCount: Int
        ) throws {
            try withSession(driver) { client in
                let long = RSPClient.packet([UInt8](repeating: 0x61, count: byteCount))
                // A write that would be good if it were shorter changes nothing.
                let ticks = try image.address(of: "ticks")
                let before = try client.readWord(at: ticks)
                let head = Array("M\(try hex("ticks")),\(String(byteCount / 2, radix: 16)):".utf8)
                let write = RSPClient.packet(head + [UInt8](repeating: 0x36, count: byteCount))
                for packet in [long, write] {
                    client.send(raw: packet)
                    try #expect(client.receive().hasPrefix("E"))
                    try #expect(client.ask("qC") == "QC1")
                    client.send(raw: packet + Self.question)
                    try #expect(client.receive().hasPrefix("E"))
                    try #expect(client.receive() == "QC1")
                }
                try #expect(client.readWord(at: ticks) == before)
            }
        }

        @Test func `a packet that is too long is acknowledged where packets are`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let client = try RSPClient(.port(port))
                client.send(raw: Self.question)
                try client.receiveRaw { $0.count >= 8 }
                client.send(raw: RSPClient.packet([UInt8](repeating: 0x61, count: 200 << 10)))
                let answer = try client.receiveRaw { $0.contains(UInt8(ascii: "#")) }
                #expect(answer.starts(with: Array("+$E16#".utf8)))
            }
        }

        /// Packets with numbers that do not fit, and how their answers begin.
        private func largeNumbers() throws -> [(packet: String, answers: [String])] {
            let ticks = try hex("ticks")
            let last = String(repeating: "f", count: 16)
            let digits = String(repeating: "f", count: 1000)
            let zeros = String(repeating: "0", count: 1000)
            let code = try image.bytes(at: image.address(of: "tick"), count: 1)
            let first = String(format: "%02x", code[0])
            // Lengths of 2^32 - 1: less is given, or nothing is done.
            let lengths: [(String, [String])] = [
                ("m\(ticks),ffffffff", ["00"]), ("x\(ticks),ffffffff", ["b"]),
                ("M\(ticks),ffffffff:00", ["E"]), ("X\(ticks),ffffffff:a", ["E"]),
                ("qCRC:\(ticks),ffffffff", ["E"]), ("qSearch:memory:\(ticks);ffffffff;zzz", ["E"]),
                ("Z2,\(ticks),ffffffff", ["E"]), ("Z4,\(ticks),ffffffff", ["E"]),
                ("z2,\(ticks),ffffffff", ["OK", "E"]), ("Z0,\(try hex("tick")),ffffffff", ["OK"]),
                ("z0,\(try hex("tick")),ffffffff", ["OK"]),
                ("qXfer:features:read:target.xml:0,ffffffff", ["m", "l"]),
                ("qXfer:features:read:target.xml:ffffffff,ffffffff", ["l"]),
                ("vFile:pread:5,ffffffff,ffffffff", ["", "F"]), ("pffffffff", ["E"]),
                ("Pffffffff=00", ["E"]), ("QRestoreRegisterState:ffffffff", ["E"]),
                ("Hgffffffff", ["E"]), ("vCont;c:ffffffff", ["E"]), ("vCont;Cffffffff:1", ["E"]),
            ]
            // Addresses at the very end: no sum wraps round.
            let ends: [(String, [String])] = [
                ("m\(last),1", ["E"]), ("m\(last),2", ["E"]), ("m\(last),ffffffffffffffff", ["E"]),
                ("mfffffffffffffff8,8", ["E"]), ("mfffffffffffffff8,10", ["E"]),
                ("x\(last),2", ["E"]), ("M\(last),1:00", ["E"]), ("M\(last),2:0000", ["E"]),
                ("X\(last),2:ab", ["E"]), ("Z0,\(last),1", ["E"]), ("Z1,\(last),1", ["OK", "E"]),
                ("z0,\(last),1", ["OK", "E"]), ("z1,\(last),1", ["OK", "E"]),
                ("Z2,\(last),1", ["OK", "E"]), ("Z2,\(last),2", ["E"]), ("Z2,\(last),8", ["E"]),
                ("z2,\(last),1", ["OK", "E"]),
                ("qCRC:\(last),\(last)", ["E"]), ("qCRC:0,\(last)", ["E"]),
                ("qSearch:memory:\(last);\(last);a", ["E"]), ("qSearch:memory:\(last);2;ab", ["E"]),
                ("qMemoryRegionInfo:\(last)", ["start:", "E"]),
                ("qMemoryRegionInfo:8000000000000000", ["start:", "E"]),
                ("vCont;r\(last),\(last):7", ["E"]), ("m8000000000000000,10", ["E"]),
                ("m7fffffffffff,10", ["E"]), ("m800000000000,10", ["E"]),
            ]
            // A thousand digits: leading zeros are free, more than 64 bits is an error.
            let long: [(String, [String])] = [
                ("m\(digits),1", ["E"]), ("m\(ticks),\(digits)", ["E"]),
                ("m\(zeros)\(try hex("tick")),\(zeros)1", [first]),
                ("p\(digits)", ["E"]), ("p\(zeros)10", [""]), ("Z0,\(digits),1", ["E"]),
                ("Z\(digits),1,1", ["E"]), ("Hg\(digits)", ["E"]), ("Hg\(zeros)1", ["OK"]),
                ("T\(digits)", ["E"]), ("D;\(digits)", ["E"]), ("vKill;\(digits)", ["E"]),
                ("vCont;c:\(digits)", ["E"]), ("vCont;C\(digits):1", ["E"]), ("C\(digits)", ["E"]),
                ("c\(digits)", ["E"]), ("vCont;r\(digits),1:1", ["E"]), ("qCRC:\(digits),1", ["E"]),
                ("qXfer:features:read:target.xml:\(digits),1", ["E"]),
                ("qMemoryRegionInfo:\(digits)", ["E"]), ("P0=\(digits)", ["E"]),
                ("G\(String(repeating: "0", count: 3001))", ["E"]), ("vAttach;\(digits)", ["E"]),
                ("qSearch:memory:\(digits);1;a", ["E"]), ("vFile:close:\(digits)", ["E", ""]),
                ("QRestoreRegisterState:\(digits)", ["E"]),
            ]
            return lengths + ends + long
        }

        @Test(arguments: Driver.sample)
        func `numbers that do not fit are errors or less than was asked for`(
            driver: Driver
        ) throws {
            try withSession(driver) { client in
                for (packet, answers) in try largeNumbers() {
                    let start = wallClockSeconds()
                    let answer = try client.ask(packet, .seconds(10))
                    #expect(
                        answers.contains { answer.hasPrefix($0) },
                        "\(packet.prefix(60)) -> \(answer.prefix(60))")
                    #expect(wallClockSeconds() - start < 2, "\(packet.prefix(60))")
                }
                try #expect(client.readRegister(16) == image.entry)
            }
        }

        @Test(arguments: Driver.sample)
        func `resumes of all forms step once, run, or are errors`(driver: Driver) throws {
            try withSession(driver) { client in
                let bad = [
                    "vCont;", "vCont;;", "vCont;;s:1", "vCont", "vContX", "vCont;x:1", "vCont;t:1",
                    "vCont;s:", "vCont;s:zz", "vCont;s:1;", "vCont;s:2", "vCont;s:p400002.1",
                    "vCont;s:1:1", "vCont;sx", "vCont;r:1", "vCont;r1:1", "vCont;r1,:1",
                    "vCont;r1,2,3:1", "vCont;C", "vCont;C:1", "vCont;C100:1", "vCont;Szz:1",
                    "vCont;c" + String(repeating: ";s:2", count: 100), "vCont:c", "vCont;S05;;",
                    "szz", "czz", "c1,2", "S", "Szz", "S05;", "S05;zz", "C1ff",
                ]
                for packet in bad {
                    let answer = try client.ask(packet)
                    #expect(answer.isEmpty || answer.hasPrefix("E"), "\(packet) -> \(answer)")
                }
                try #expect(client.readRegister(16) == image.entry)
                let steps = [
                    "vCont;s", "vCont;s:1", "vCont;s:0001", "vCont;s:-1", "vCont;s:0",
                    "vCont;s:p400001.1", "vCont;s:p400001.-1", "vCont;s:p-1.-1", "vCont;s:1;c",
                    "vCont;s:1;c:-1", "vCont;c:2;s:1", "vCont;S05:1", "vCont;S00", "s", "S05",
                    "vCont;r0,0:1;c", "vCont;r0,ffffffffffffffff:2;s:1",
                ]
                for packet in steps {
                    let before = try client.readRegister(16)
                    let stop = try client.ask(packet)
                    #expect(stop.hasPrefix("T05"), "\(packet) -> \(stop)")
                    try #expect(client.readRegister(16) != before, "\(packet)")
                }
                try #expect(client.ask("Z0,\(hex("tick")),1") == "OK")
                let range = "\(String(image.entry, radix: 16)),ffffffffffffffff"
                for packet in [
                    "vCont;c", "vCont;c:1", "vCont;c:p400001.-1", "vCont;C05:1", "vCont;C00", "c",
                    "C05", "vCont;s:2;c", "vCont;r\(range):1;c",
                ] {
                    let stop = try client.ask(packet)
                    #expect(stop.contains("swbreak"), "\(packet) -> \(stop)")
                }
                try #expect(client.ask("z0,\(hex("tick")),1") == "OK")
            }
        }

        // MARK: - Many connections

        @Test(arguments: Driver.sample)
        func `fifty connections at once: one is served, all others get words`(
            driver: Driver
        ) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port)
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let first = try RSPClient(.port(port))
                try first.attach()
                let start = wallClockSeconds()
                let others = try Self.connectAtOnce(49, port) {
                    $0.send("qSupported:error-message+")
                }
                for other in others {
                    let answer = try other.receive(.seconds(10))
                    #expect(answer.hasPrefix("E.another debugger is attached"), "\(answer)")
                    #expect(other.isClosed(within: .seconds(5)))
                }
                print(
                    "measured: 49 clients refused (\(driver)), s:",
                    [wallClockSeconds() - start].text)
                try #expect(first.readRegister(16) == image.entry)
                try first.detach()
                try supervisor.expectTicking("a", image)
            }
        }

        @Test func `fifty silent connections keep nobody from being refused or served`() throws {
            let port = try RunningSupervisor.freePort()
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port)]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let silent = try Self.connectAtOnce(50, port) { _ in }
                let start = wallClockSeconds()
                let first = try RSPClient(.port(port))
                try first.attach()
                let served = wallClockSeconds()
                let more = try Self.connectAtOnce(50, port) { _ in }
                let second = try RSPClient(.port(port))
                let answer = try second.ask("qSupported", .seconds(10))
                #expect(answer.hasPrefix("E.another debugger is attached"), "\(answer)")
                let refused = wallClockSeconds()
                print(
                    "measured: behind 50 silent connections served after",
                    [served - start].text, "s, refused after", [refused - served].text, "s")
                #expect(served - start < 5 && refused - served < 5)
                try #expect(first.readRegister(16) == image.entry)
                try withExtendedLifetime((silent, more)) { try first.detach() }
            }
        }

        /// Connects from as many threads; each does `greet` when it is connected.
        private static func connectAtOnce(
            _ count: Int, _ port: UInt16, greet: @escaping @Sendable (RSPClient) -> Void
        ) throws -> [RSPClient] {
            let made = Made()
            DispatchQueue.concurrentPerform(iterations: count) { _ in
                guard let client = try? RSPClient(.port(port)) else { return }
                greet(client)
                made.add(client)
            }
            let clients = made.clients
            guard clients.count == count else {
                throw HarnessError("\(clients.count) of \(count) could connect")
            }
            return clients
        }

        /// What threads have made.
        private final class Made: @unchecked Sendable {
            private let lock = NSLock()
            private var all: [RSPClient] = []

            func add(_ client: RSPClient) { lock.withLock { all.append(client) } }
            var clients: [RSPClient] { lock.withLock { all } }
        }
    }
}
