import GDBRemote

/// What a decoder said, with the body of a packet.
private struct Heard: Equatable {
    var event: PacketDecoder.Event
    var body: [UInt8] = []
}

/// A stream means the same however it is cut, and a body survives being sent.
func packetMistakes(_ input: [UInt8]) -> [String] {
    var mistakes: [String] = []
    let whole = hear(input, pieceBytes: input.count)
    if hear(input, pieceBytes: 1) != whole { mistakes.append("byte by byte means something else") }
    let pieceBytes = 2 + Int(input.first ?? 0)
    if hear(input, pieceBytes: pieceBytes) != whole { mistakes.append("cuts change the meaning") }
    for heard in whole where heard.event == .packet {
        if heard.body.count > PacketLimits.bodyBytesMax { mistakes.append("a body is too long") }
        _ = try? Command(body: heard.body)
        if sentAndHeard(heard.body) != [Heard(event: .packet, body: heard.body)] {
            mistakes.append("a body does not survive being sent")
        }
    }
    return mistakes
}

private func hear(_ input: [UInt8], pieceBytes: Int) -> [Heard] {
    var decoder = PacketDecoder()
    var heard: [Heard] = []
    var start = 0
    while start < input.count {
        let end = min(start + pieceBytes, input.count)
        let piece = input.span.extracting(start..<end)
        start = end
        var index = 0
        while let event = decoder.receive(piece, from: &index) {
            heard.append(Heard(event: event, body: event == .packet ? decoder.body : []))
        }
    }
    return heard
}

/// Frames `body` as a reply and reads it back.
private func sentAndHeard(_ body: [UInt8]) -> [Heard] {
    var encoder = PacketEncoder()
    encoder.start()
    let count = encoder.append(escaping: body.span)
    encoder.finish()
    let heard = hear(encoder.bytes, pieceBytes: 1000)
    // What needs more escapes than a packet has room for is cut, which is no mistake.
    guard count < body.count else { return heard }
    return heard == [Heard(event: .packet, body: Array(body[..<count]))]
        ? [Heard(event: .packet, body: body)] : heard
}
