import GDBRemote
import Testing

struct RunLengthTests {
    private static let gdb: ClientFeatures = [.relocateInstruction, .errorMessage]

    @Test(arguments: [UInt8(0x00), 0xFF])
    func `runs of all lengths come back, and their counts are allowed`(_ byte: UInt8) throws {
        for length in 1...300 {
            // With neighbours that begin and end with the digit of the run, and at the end.
            let neighbour = byte & 0xF0 | (byte & 15 ^ 1)
            let run = [UInt8](repeating: byte, count: length)
            let memory = filler + [neighbour] + run + [neighbour] + run
            let body = body(of: memory, for: Self.gdb)
            let expanded = try expand(body)
            #expect(expanded == hex(memory), "\(length)")
            #expect(body.count <= 2 * memory.count)
        }
    }

    @Test(arguments: [
        (1, "00"), (2, "0* "), (3, "0*\""), (4, "0*\"00"), (5, "0*&"), (49, "0*~"), (50, "0*~00"),
        (51, "0*~0* "), (53, "0*~0*\"00"),
    ])
    func `a run is one digit and a count`(_ length: Int, _ expected: String) {
        let run = [UInt8](repeating: 0, count: length)
        let body = String(decoding: body(of: run + filler, for: Self.gdb), as: UTF8.self)
        #expect(body == expected + String(decoding: hex(filler), as: UTF8.self))
    }

    @Test func `memory of all kinds comes back`() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<40 {
            var memory = filler
            for _ in 0..<100 {
                let byte: UInt8 = Bool.random(using: &random) ? 0 : .random(in: 0...255)
                memory += repeatElement(byte, count: .random(in: 1...12, using: &random))
            }
            #expect(try expand(body(of: memory, for: Self.gdb)) == hex(memory))
        }
    }

    @Test func `most of memory, all zeros, is one short reply`() {
        let memory = [UInt8](repeating: 0, count: PacketLimits.bodyBytesMax)
        let body = body(of: memory, for: Self.gdb)
        #expect(body.count < PacketLimits.memoryBytesMax / 16)
        #expect((try? expand(body))?.count == 2 * PacketLimits.memoryBytesMax)
    }

    @Test(arguments: [[], [.lldb], [.lldb, .relocateInstruction]] as [ClientFeatures])
    func `nobody but gdb gets runs`(_ features: ClientFeatures) {
        let memory = [UInt8](repeating: 0, count: 4096)
        #expect(body(of: memory, for: features) == hex(memory))
    }

    @Test func `a short reply has no runs`() {
        let memory = [UInt8](repeating: 0, count: 1023)
        #expect(body(of: memory, for: Self.gdb) == hex(memory))
    }

    // MARK: -

    /// Enough bytes without a run that runs are looked for.
    private let filler: [UInt8] = (0..<1024).map { [0x12, 0x9A, 0x5E][$0 % 3] }

    private struct BadRun: Error {
        let count: UInt8?
    }

    /// What a client makes of a body, by the manual.
    private func expand(_ body: ArraySlice<UInt8>) throws -> ArraySlice<UInt8> {
        var result: [UInt8] = []
        var rest = body
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "*") else {
                result.append(byte)
                continue
            }
            guard let count = rest.popFirst(), (32...126).contains(count),
                !Array("#$+-".utf8).contains(count), let digit = result.last
            else { throw BadRun(count: rest.first) }
            result += repeatElement(digit, count: Int(count) - 29)
        }
        return result[...]
    }

    private func hex(_ memory: [UInt8]) -> ArraySlice<UInt8> {
        let digits = Array("0123456789abcdef".utf8)
        return memory.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }[...]
    }

    /// The body of the reply, whose frame is checked.
    private func body(of memory: [UInt8], for features: ClientFeatures) -> ArraySlice<UInt8> {
        var encoder = PacketEncoder()
        encoder.packet(memory: memory.span, form: .hex, for: features)
        let body = encoder.bytes.dropFirst().dropLast(3)
        var expected = PacketEncoder()
        expected.packet(String(decoding: body, as: UTF8.self))
        #expect(encoder.bytes == expected.bytes)
        return ArraySlice(Array(body))
    }
}
