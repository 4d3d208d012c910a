import GuestABI
import GuestModel

/// A guest's messages, read while another vCPU or a device might still write to them.
func messageMistakes(_ input: [UInt8]) -> [String] {
    var reader = InputReader(input)
    let kind = reader.byte()
    switch kind % 3 {
    case 0:
        let words = reader.rest()
        return abortMistakes(words)
    case 1: return decodedMistakes(reader.rest())
    default: return bufferMistakes(changes: reader.bytes(8), content: reader.rest())
    }
}

private func abortMistakes(_ bytes: [UInt8]) -> [String] {
    var collector = AbortCollector()
    var reader = InputReader(bytes)
    var mistakes: [String] = []
    while !reader.isAtEnd {
        let word = (0..<4).reduce(UInt32(0)) { value, _ in value << 8 | UInt32(reader.byte()) }
        let abort = collector.collect(word)
        // Three bytes of UTF-8 for each byte that is no text.
        if let abort, abort.text.utf8.count > 3 * 1024 { mistakes.append("an abort too long") }
    }
    return mistakes
}

/// Texts are parts of the message, so together they cannot be much longer than it.
private func decodedMistakes(_ message: [UInt8]) -> [String] {
    var mistakes: [String] = []
    if let call = try? HostCallRequest(message: message), call.name.utf8.count > message.count {
        mistakes.append("a name longer than its message")
    }
    if let record = try? GuestLogRecord(message: message) {
        let texts = [record.message, record.source, record.caller, record.sourceFile]
        if texts.contains(where: { $0.utf8.count > message.count }) {
            mistakes.append("a text longer than its message")
        }
    }
    return mistakes
}

/// The buffer starts at `start` and another byte of it changes before each access.
private func bufferMistakes(changes: [UInt8], content: [UInt8]) -> [String] {
    let start: UInt64 = 0x1000
    let padded = content + [UInt8](repeating: 0, count: max(0, 64 - content.count))
    let memory = ArrayMemory([ArrayMemory.Region(start: start, bytes: padded)])
    memory.disturb = { access, regions in
        let offset = Int(changes.isEmpty ? 0 : changes[access % changes.count])
        // Half of all accesses see what was there before.
        guard offset % 2 == 1, offset < padded.count else { return }
        regions[0].bytes[offset] &+= UInt8(truncatingIfNeeded: access)
    }
    let buffer = GuestBuffer(
        start: GuestPhysicalAddress(start), byteCount: UInt64(padded.count))
    if let message = try? buffer.pop(from: memory) {
        if message.count > padded.count { return ["a message longer than its buffer"] }
        return decodedMistakes(message)
    }
    _ = try? buffer.push(Array(padded.prefix(24)), to: memory)
    return memory.regions[0].bytes.count == padded.count ? [] : ["the buffer grew"]
}
