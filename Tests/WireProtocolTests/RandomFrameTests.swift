import Testing
import WireProtocol

/// Frames that nobody wrote: decoding answers, and what it takes it can write again.
@Suite struct RandomFrameTests {
    private static let types: [UInt16] =
        Array(1...18) + Array(101...109) + Array(201...204) + Array(301...305) + Array(401...404)
        + Array(501...506)

    @Test func `random payloads under real types never trap`() {
        var random = SplitMix(state: 1)
        for _ in 0..<70_000 {
            let type = Self.types[Int(random.next() % UInt64(Self.types.count))]
            let count = Int(random.next() % 64)
            // Small values reach further: counts and enums are mostly in range.
            let mask: UInt64 = random.next() % 2 == 0 ? 0xFF : 0x07
            let payload = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next() & mask) }
            decodeAsAll(Frames.make(type: type, payload))
        }
    }

    @Test func `real frames with some bytes changed never trap`() {
        var random = SplitMix(state: 2)
        let frames =
            Samples.requests.map { $0.encoded() } + Samples.replies.map { $0.encoded() }
            + Samples.workerOrders.map { $0.encoded() } + Samples.workerNotices.map { $0.encoded() }
            + Samples.stubOrders.map { $0.encoded() } + Samples.stubNotices.map { $0.encoded() }
        for round in 0..<30_000 {
            var frame = frames[round % frames.count]
            for _ in 0...(random.next() % 3) {
                let place = Int(random.next() % UInt64(frame.count))
                frame[place] = UInt8(truncatingIfNeeded: random.next())
            }
            decodeAsAll(frame)
        }
    }

    private func decodeAsAll(_ frame: [UInt8]) {
        decode(DebugRequest.self, frame)
        decode(DebugReply.self, frame)
        decode(WorkerOrder.self, frame)
        decode(WorkerNotice.self, frame)
        decode(StubOrder.self, frame)
        decode(StubNotice.self, frame)
    }

    private func decode<Message: WireMessage & Equatable>(_: Message.Type, _ frame: [UInt8]) {
        guard let message = try? Message(frame: frame) else { return }
        let again = try? Message(frame: message.encoded())
        if again != message { Issue.record("\(frame) does not come back as it was read") }
    }
}

/// Random numbers that are the same in every run.
///
/// - Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators".
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
