import WireProtocol

/// What is decoded can be sent on unchanged, and control frames are small.
func frameMistakes(_ input: [UInt8]) -> [String] {
    let frame = Array(input.dropFirst())
    return switch (input.first ?? 0) % 6 {
    case 0: mistakes(of: DebugRequest.self, frame, limit: WireLimits.frameBytesMax)
    case 1: mistakes(of: DebugReply.self, frame, limit: WireLimits.frameBytesMax)
    case 2: mistakes(of: WorkerOrder.self, frame, limit: WireLimits.controlFrameBytesMax)
    case 3: mistakes(of: WorkerNotice.self, frame, limit: WireLimits.controlFrameBytesMax)
    case 4: mistakes(of: StubOrder.self, frame, limit: WireLimits.controlFrameBytesMax)
    default: mistakes(of: StubNotice.self, frame, limit: WireLimits.controlFrameBytesMax)
    }
}

private func mistakes<Message: WireMessage & Equatable>(
    of _: Message.Type, _ input: [UInt8], limit: Int
) -> [String] {
    // The header says the length; without this most mutations would stop at it.
    var frame = input
    if frame.count >= WireLimits.headerBytes {
        let payload = frame.count - WireLimits.headerBytes
        for index in 0..<4 { frame[4 + index] = UInt8(truncatingIfNeeded: payload >> (8 * index)) }
    }
    _ = try? Message(frame: input)
    guard frame.count <= limit, let message = try? Message(frame: frame) else { return [] }
    var mistakes: [String] = []
    let encoded = message.encoded()
    if encoded.count > limit { mistakes.append("\(message.wireType) grew to \(encoded.count)") }
    let again = try? Message(frame: encoded)
    if again != message { mistakes.append("\(message.wireType) changes when it is sent on") }
    return mistakes
}
