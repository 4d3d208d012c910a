/// How much text of one origin goes into the log: a token bucket of bytes.
///
/// Pure: times are nanoseconds of a clock the caller chooses, which never goes back.
struct OutputBudget {
    /// 64 KiB a second; as much at once after a second of silence.
    static let bytesPerSecond = 64 << 10
    static let burstBytes = bytesPerSecond
    /// What a record costs beside its text, so that many short lines are no way around.
    static let recordBytes = 64

    private static let second: UInt64 = 1_000_000_000
    /// When everything that was spent will have been earned again.
    private var spentUntil: UInt64 = 0
    private var droppedBytes = 0
    private var firstDrop: UInt64?

    /// Whether a record with this many bytes of text may go; if not, they are counted.
    mutating func admits(_ textBytes: Int, at now: UInt64) -> Bool {
        let (cost, isBeyond) = textBytes.addingReportingOverflow(Self.recordBytes)
        if !isBeyond, cost <= Self.burstBytes {
            let nanoseconds = UInt64(cost) * Self.second / UInt64(Self.bytesPerSecond)
            let end = max(spentUntil, now) + nanoseconds
            if end - now <= Self.second {
                spentUntil = end
                return true
            }
        }
        droppedBytes = droppedBytes.addingReportingOverflow(textBytes).partialValue
        firstDrop = firstDrop ?? now
        return false
    }

    /// When the dropped bytes are to be told of: a second after the first of them.
    var nextReport: UInt64? { firstDrop.map { $0 + Self.second } }

    /// The bytes dropped since the last report, if the next one is due.
    mutating func takeReport(at now: UInt64) -> Int? {
        guard let due = nextReport, due <= now else { return nil }
        defer { (droppedBytes, firstDrop) = (0, nil) }
        return droppedBytes
    }
}
