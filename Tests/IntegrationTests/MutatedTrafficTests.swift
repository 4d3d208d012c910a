import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Recorded traffic with mistakes in it, and a real debugger's attach after each thousand bytes.
    @Suite(.serialized)
    struct MutatedBytes {
        private static let seed: UInt64 = 20_240_917
        private static let bytesPerConnection = 1000

        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        @Test(arguments: Driver.sample)
        func `changed recorded bytes harm neither stub nor guest: a share of ten million`(
            driver: Driver
        ) throws {
            try run(driver, byteCount: 60_000)
        }

        @Test(
            .enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"),
            arguments: Driver.sample)
        func `ten million changed recorded bytes harm neither stub nor guest`(
            driver: Driver
        ) throws {
            try run(driver, byteCount: 10_000_000)
        }

        private func run(_ driver: Driver, byteCount: Int) throws {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", "counter", on: driver, port: port, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let before = try supervisor.statusAtOnce("a")
                let stub = try #require(before.stubPID)
                let memory = residentBytes(stub)
                let start = wallClockSeconds()
                var game = MutatedSession(
                    port: port, traffic: try MutatedTraffic(seed: Self.seed))
                var last: UInt64 = 0
                while game.traffic.byteCount < byteCount {
                    let from = game.traffic.byteCount
                    while game.traffic.byteCount - from < Self.bytesPerConnection {
                        try game.connect(
                            bytesLeft: Self.bytesPerConnection - (game.traffic.byteCount - from))
                    }
                    last = try attachHealthily(port, after: last, game.place)
                }
                let after = try supervisor.statusAtOnce("a")
                #expect(after.workerPID == before.workerPID && after.stubPID == before.stubPID)
                let growth = residentBytes(stub) - memory
                print(
                    "measured: seed \(Self.seed), \(driver.rawValue):", game.traffic.byteCount,
                    "bytes,", game.traffic.packetCount, "packets,", game.connectionCount,
                    "connections,", game.closedCount, "closed by the stub,", game.answeredBytes,
                    "bytes of answers, stub's RSS grew by", growth >> 10, "KiB,",
                    [wallClockSeconds() - start].text, "s")
                // A sanitizer keeps what was freed, to see that nobody uses it.
                if !Machine.isSanitized { #expect(growth < 4 << 20) }
                try supervisor.expectTicking("a", image)
                try supervisor.expectOriginalCode("a", image, ["tick", "advance"])
            }
        }

        /// What any debugger does first; the guest has counted on since `last`.
        private func attachHealthily(
            _ port: UInt16, after last: UInt64, _ place: String
        ) throws -> UInt64 {
            let (tick, ticks) = (try image.address(of: "tick"), try image.address(of: "ticks"))
            let code = try image.bytes(at: tick, count: 8)
            var count: UInt64 = 0
            try Deadline.wait(.seconds(5), for: "the guest to count on from \(last), \(place)") {
                let client = try RSPClient(.port(port))
                let stop = try client.attach()
                guard stop.hasPrefix("T0") else { throw HarnessError("\(stop), \(place)") }
                // 608 bytes, 864 with AVX; two digits each.
                let registers = try client.ask("g")
                guard registers.utf8.count >= 1216 else {
                    throw HarnessError("g: \(registers), \(place)")
                }
                try #expect(client.readMemory(at: tick, count: 8) == code, "\(place)")
                count = try client.readWord(at: ticks)
                try client.detach()
                return count > last
            }
            return count
        }

        private func residentBytes(_ processID: Int32) -> Int {
            let text = try? String(contentsOfFile: "/proc/\(processID)/statm", encoding: .utf8)
            let words = text?.split(separator: " ") ?? []
            return words.count > 1 ? (Int(words[1]) ?? 0) * 4096 : 0
        }
    }
}

/// Connections that send changed traffic and listen.
private struct MutatedSession {
    let port: UInt16
    var traffic: MutatedTraffic
    private(set) var connectionCount = 0
    /// Connections that the stub ended first.
    private(set) var closedCount = 0
    private(set) var answeredBytes = 0
    private var echoCount = 0
    private var lastSent: [UInt8] = []

    init(port: UInt16, traffic: MutatedTraffic) {
        self.port = port
        self.traffic = traffic
    }

    /// Where a test is, for its messages.
    var place: String {
        "at byte \(traffic.byteCount), connection \(connectionCount), behind "
            + String(decoding: lastSent, as: UTF8.self).debugDescription
    }

    /// One connection that sends until `bytesLeft` bytes are gone, or the stub has had enough.
    mutating func connect(bytesLeft: Int) throws {
        let client = try RSPClient(.port(port))
        connectionCount += 1
        traffic.beginConnection()
        let lets = connectionCount % 2 == 0
        // Half of them acknowledge nothing, as real ones do.
        let opening = connectionCount % 4 < 2 ? "QStartNoAckMode" : "qC"
        var isOpen = try exchange(client, RSPClient.packet(Array(opening.utf8)))
        let end = traffic.byteCount + bytesLeft
        while isOpen, traffic.byteCount < end {
            let burst = traffic.burst(atMost: end - traffic.byteCount, mayInsert: !lets)
            isOpen = try exchange(client, burst)
        }
        if !isOpen { closedCount += 1 }
        if isOpen, lets { client.send(raw: traffic.resume()) }
        client.endSending()
        guard client.isClosed(within: .seconds(5)) else {
            throw HarnessError("a client that left is not closed, \(place)")
        }
    }

    /// Sends `bytes` and waits until the stub has done them; false when it closed the connection.
    private mutating func exchange(_ client: RSPClient, _ bytes: [UInt8]) throws -> Bool {
        // The first question may be swallowed by a packet without an end; the second never is.
        echoCount += 2
        let questions = [echoCount - 1, echoCount].flatMap {
            RSPClient.packet(Array("qEcho:\($0)".utf8))
        }
        traffic.note(questions)
        lastSent = bytes
        client.send(raw: bytes + questions)
        let wanted = Array("$qEcho:\(echoCount)#".utf8)
        guard let answer = try? client.receiveRaw(until: { $0.contains(wanted) }) else {
            guard client.isClosed(within: .milliseconds(100)) else {
                throw HarnessError("a question is not answered, \(place)")
            }
            return false
        }
        answeredBytes += answer.count
        return true
    }
}
