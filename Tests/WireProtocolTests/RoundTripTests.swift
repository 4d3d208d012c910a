import Testing
import WireProtocol

/// Every message goes there and back, and nothing that is almost a message is taken.
@Suite struct RoundTripTests {
    @Test(arguments: Samples.requests)
    func `a debug request survives the way`(_ message: DebugRequest) throws {
        try expectStrictRoundTrip(message)
    }

    @Test(arguments: Samples.replies)
    func `a debug reply survives the way`(_ message: DebugReply) throws {
        try expectStrictRoundTrip(message)
    }

    @Test(arguments: Samples.workerOrders)
    func `an order to a worker survives the way`(_ message: WorkerOrder) throws {
        try expectStrictRoundTrip(message)
    }

    @Test(arguments: Samples.workerNotices)
    func `a worker's notice survives the way`(_ message: WorkerNotice) throws {
        try expectStrictRoundTrip(message)
    }

    @Test(arguments: Samples.stubOrders)
    func `an order to a stub survives the way`(_ message: StubOrder) throws {
        try expectStrictRoundTrip(message)
    }

    @Test(arguments: Samples.stubNotices)
    func `a stub's notice survives the way`(_ message: StubNotice) throws {
        try expectStrictRoundTrip(message)
    }

    @Test func `there is a sample of every type and no two share a number`() {
        #expect(Set(Samples.requests.map(\.wireType)) == Set(1...18))
        #expect(Set(Samples.replies.map(\.wireType)) == Set(101...109))
        #expect(Set(Samples.workerOrders.map(\.wireType)) == Set(201...204))
        #expect(Set(Samples.workerNotices.map(\.wireType)) == Set(301...305))
        #expect(Set(Samples.stubOrders.map(\.wireType)) == Set(401...404))
        #expect(Set(Samples.stubNotices.map(\.wireType)) == Set(501...506))
    }

    @Test func `a buffer can be used for one frame after the other`() throws {
        var frame: [UInt8] = []
        DebugReply.memory(Array(repeating: 1, count: 5000)).encode(into: &frame)
        DebugReply.done.encode(into: &frame)
        #expect(try DebugReply(frame: frame) == .done)
    }

    @Test func `what lies behind the frame in a buffer does not count`() throws {
        let frame = DebugRequest.interrupt.encoded()
        let buffer = frame + Array(repeating: 0xFF, count: 100)
        #expect(try DebugRequest(frame: buffer, count: frame.count) == .interrupt)
    }

    /// There and back; cut at every length; one byte more, announced and not.
    private func expectStrictRoundTrip<Message: WireMessage & Equatable>(
        _ message: Message
    ) throws {
        let frame = message.encoded()
        #expect(try Message(frame: frame) == message)
        #expect(frame.count <= WireLimits.frameBytesMax)
        let accepted = (0..<frame.count).filter { count in
            isAccepted(Message.self, Array(frame[..<count]))
                || isAccepted(Message.self, Frames.announcing(Array(frame[..<count])))
        }
        #expect(accepted == [])
        #expect(!isAccepted(Message.self, frame + [0]))
        #expect(throws: WireError.trailingBytes(1)) {
            try Message(frame: Frames.announcing(frame + [0]))
        }
    }
}

/// Whether the bytes are a message; every refusal is a `WireError` by the type of the initializer.
func isAccepted<Message: WireMessage>(_: Message.Type, _ frame: [UInt8]) -> Bool {
    (try? Message(frame: frame)) != nil
}

/// Frames that no writer of ours would make.
enum Frames {
    /// The same bytes with the length in the header put right, if there is a header.
    static func announcing(_ frame: [UInt8]) -> [UInt8] {
        guard frame.count >= WireLimits.headerBytes else { return frame }
        var frame = frame
        let payload = frame.count - WireLimits.headerBytes
        for index in 0..<4 { frame[4 + index] = UInt8(truncatingIfNeeded: payload >> (8 * index)) }
        return frame
    }

    /// A frame of any type around any payload.
    static func make(type: UInt16, _ payload: [UInt8]) -> [UInt8] {
        let header = [UInt8(truncatingIfNeeded: type), UInt8(type >> 8), 0, 0, 0, 0, 0, 0]
        return announcing(header + payload)
    }
}
