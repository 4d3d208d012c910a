extension PacketEncoder {
    /// Frames the piece of `object` at `offset`: `m` if more follows, `l` if it is the last.
    ///
    /// - Source: gdb manual, node "General Query Packets", `qXfer`.
    package mutating func packet(object: Span<UInt8>, offset: Int, byteCount: Int) {
        let first = min(max(offset, 0), object.count)
        var count = min(max(byteCount, 0), object.count - first)
        start()
        let mark = bytes.count
        append("m")
        count = append(escaping: object.extracting(first..<first + count))
        if first + count == object.count { replaceByte(at: mark, with: UInt8(ascii: "l")) }
        finish()
    }

    /// Frames guest memory in the form of `m` or `x`.
    package mutating func packet(
        memory: Span<UInt8>, form: MemoryForm, for features: ClientFeatures = []
    ) {
        start()
        switch form {
        case .hex:
            let memory = memory.extracting(first: PacketLimits.memoryBytesMax)
            if features.expandsRuns, memory.count >= RunLength.memoryBytesMin {
                append(hexInRuns: memory)
            } else {
                append(hex: memory)
            }
        case .binary:
            append("b")
            append(escaping: memory)
        }
        finish()
    }

    /// Frames one line of output for the client's user (`O` packets).
    package mutating func packet(output: String) {
        start()
        append("O")
        append(hex: Array(output.utf8.prefix(Self.outputBytesMax)).span)
        finish()
    }

    private static var outputBytesMax: Int { 1000 }
}
