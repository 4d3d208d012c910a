/// Run-length coding of hex digits: `0* ` is `0000`, the digit and a count of its repetitions.
///
/// Only runs of whole bytes are looked for, such as the zeros that most memory is full of: that costs
/// little more than the digits themselves.
///
/// - Source: gdb manual, node "Overview" of the remote protocol.
enum RunLength {
    /// Shorter replies fit into one segment of the network anyway, and people read them in traces.
    static let memoryBytesMin = 1024

    /// Added to a count of repetitions, which makes a printable character of it.
    private static let countBase = 29
    /// 97 repetitions are the most that a printable character stands for.
    private static let runBytesMax = 49

    /// Appends `source` as hex digits, runs coded.
    static func append(hex source: Span<UInt8>, to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: source.count &* 2))
        var target = bytes.mutableSpan
        var position = start
        var index = 0
        while index < source.count {
            let runStart = firstRun(source, from: index)
            // The digits between two runs are written in a loop of their own, which is fast.
            position = Hex.write(source.extracting(index..<runStart), to: &target, at: position)
            index = runStart
            guard index < source.count else { break }
            let count = runLength(source, at: index)
            target[position] = Hex.digit(source[index] & 15)
            target[position &+ 1] = UInt8(ascii: "*")
            target[position &+ 2] = UInt8(truncatingIfNeeded: 2 &* count &- 1 &+ countBase)
            position &+= 3
            index &+= count
        }
        bytes.removeLast(bytes.count - position)
    }

    /// Where the next two equal bytes of equal digits begin, or the end.
    private static func firstRun(_ source: Span<UInt8>, from start: Int) -> Int {
        var index = start &+ 1
        var previous = source[start]
        while index < source.count {
            let byte = source[index]
            if byte == previous, byte >> 4 == byte & 15 { return index &- 1 }
            previous = byte
            index &+= 1
        }
        return source.count
    }

    /// How many bytes from `start` on, where a run begins, go into one count.
    private static func runLength(_ source: Span<UInt8>, at start: Int) -> Int {
        let byte = source[start]
        let limit = min(start &+ runBytesMax, source.count)
        var end = start &+ 2
        while end < limit, source[end] == byte { end &+= 1 }
        // Seven repetitions would be counted by `$`. The other marks of the framing stand for even
        // counts, which whole bytes do not have.
        return end &- start == 4 ? 3 : end &- start
    }
}
