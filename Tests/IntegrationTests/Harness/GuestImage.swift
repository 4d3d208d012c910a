import Foundation

/// A guest's ELF file as the tests need it: addresses of symbols, and bytes at addresses.
struct GuestImage {
    let path: String
    private let bytes: Data
    private let symbols: [String: UInt64]

    init(_ path: String) throws {
        self.path = path
        bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        let list = try RunningProgram("nm", [path])
        try list.waitForEnd(.seconds(10))
        _ = list.output.waitForEnd(.seconds(10))
        var symbols: [String: UInt64] = [:]
        for line in list.output.text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3 else { continue }
            symbols[String(words[2])] = UInt64(words[0], radix: 16)
        }
        self.symbols = symbols
    }

    static func named(_ name: String) throws -> GuestImage {
        try GuestImage(Machine.guest(name))
    }

    func address(of symbol: String) throws -> UInt64 {
        guard let address = symbols[symbol] else {
            throw HarnessError("\(path) has no symbol \(symbol)")
        }
        return address
    }

    var entry: UInt64 { word(at: 24, byteCount: 8) }

    /// Where the first loadable segment was linked.
    var firstSegmentAddress: UInt64 {
        loadable.map { word(at: $0 + 16, byteCount: 8) }.min() ?? 0
    }

    /// Where in the file the headers of loadable segments are.
    private var loadable: [Int] {
        let table = Int(word(at: 32, byteCount: 8))
        let entrySize = Int(word(at: 54, byteCount: 2))
        return (0..<Int(word(at: 56, byteCount: 2))).map { table + $0 * entrySize }
            .filter { word(at: $0, byteCount: 4) == 1 }
    }

    /// The bytes that the file says are at an address when the guest starts.
    func bytes(at address: UInt64, count: Int) throws -> [UInt8] {
        for header in loadable {
            let offset = word(at: header + 8, byteCount: 8)
            let start = word(at: header + 16, byteCount: 8)
            let size = word(at: header + 32, byteCount: 8)
            guard address >= start, address + UInt64(count) <= start + size else { continue }
            let first = Int(offset + address - start)
            return Array(bytes[first..<first + count])
        }
        throw HarnessError("\(path) has no bytes at 0x\(String(address, radix: 16))")
    }

    private func word(at offset: Int, byteCount: Int) -> UInt64 {
        bytes[offset..<offset + byteCount].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
