import GuestModel

/// A `qSearch:memory` under way: memory comes piece by piece and is looked at once.
///
/// Knuth, Morris and Pratt: a pattern of a hostile client costs no more than any other.
struct MemorySearch: Hashable, Sendable {
    /// Bytes asked of the worker at once.
    static let pieceBytes: UInt64 = 65536

    private(set) var address: GuestVirtualAddress
    private(set) var left: UInt64
    private let pattern: [UInt8]
    /// For each position: how much of the pattern still matches when the next byte does not.
    private let fallbacks: [Int]
    private var matched = 0

    /// `pattern` must have at least one byte.
    init(_ address: GuestVirtualAddress, byteCount: UInt64, pattern: [UInt8]) {
        self.address = address
        left = byteCount
        self.pattern = pattern
        fallbacks = Self.fallbacks(of: pattern)
    }

    /// The next piece to read; 0 when all was searched.
    var pieceCount: UInt32 { UInt32(min(left, Self.pieceBytes)) }

    /// Takes the next bytes; the address of the first match that they complete.
    mutating func look(at bytes: [UInt8]) -> GuestVirtualAddress? {
        for (offset, byte) in bytes.enumerated() {
            while matched > 0, pattern[matched] != byte { matched = fallbacks[matched - 1] }
            if pattern[matched] == byte { matched += 1 }
            guard matched < pattern.count else {
                let end = address.rawValue &+ UInt64(offset) &+ 1
                return GuestVirtualAddress(end &- UInt64(pattern.count))
            }
        }
        address.rawValue &+= UInt64(bytes.count)
        left -= min(left, UInt64(bytes.count))
        return nil
    }

    private static func fallbacks(of pattern: [UInt8]) -> [Int] {
        var table = [Int](repeating: 0, count: pattern.count)
        var length = 0
        for index in pattern.indices.dropFirst() {
            while length > 0, pattern[index] != pattern[length] { length = table[length - 1] }
            if pattern[index] == pattern[length] { length += 1 }
            table[index] = length
        }
        return table
    }
}
