import Testing

@testable import GuestABI

/// Words on the abort port.
struct AbortTests {
    /// The golden sequences, each ended by its own 0xFF.
    private func goldenAborts() throws -> [GuestAbort] {
        var collector = AbortCollector()
        return try Golden.text("abort-words.txt").split(separator: "\n").compactMap { line in
            guard line.hasPrefix("port 102"),
                let word = line.split(separator: " ").last.flatMap({ UInt32($0, radix: 16) })
            else { return nil }
            return collector.collect(word)
        }
    }

    @Test func `aborts of real guests are decoded`() throws {
        let aborts = try goldenAborts()
        #expect(aborts.map(\.code) == [8, 13, 15])
        #expect(aborts.map(\.vector) == [nil, nil, 14])
        #expect(aborts[0].text.hasSuffix("\nmemory allocation of 12816 bytes failed"))
        #expect(aborts[1].text == "Out of physical memory")
        #expect(aborts[2].text.hasPrefix("Exception vector: 14\nFaulting Instruction: 0x1a5000\n"))
        #expect(aborts[2].text.hasSuffix("\nStack Pointer: 0xffffffffffffed00"))
    }

    @Test func `an exception is known from the first word`() {
        var collector = AbortCollector()
        #expect(!collector.hasBegun)
        #expect(collector.collect(0x000E_0F02) == nil)
        #expect(collector.hasBegun)
        #expect(collector.vector == 14)
    }

    @Test(arguments: [
        (UInt32(0x000E_0F02), true), (0x0000_0F02, true), (0x001E_0F02, true),
        (0x0000_0801, false), (0x0015_0F02, false), (0x000E_0E02, false), (0x410E_0F03, false),
        (0x000E_0F01, false), (0x00FF_0F02, false), (0, false),
    ])
    func `only a code and a vector alone begin an exception`(word: UInt32, expected: Bool) {
        var collector = AbortCollector()
        #expect(collector.beginsException(word) == expected)
        _ = collector.collect(0x0000_0801)
        #expect(!collector.beginsException(word))
    }

    @Test func `bytes behind the end are ignored and a new abort starts`() {
        var collector = AbortCollector()
        #expect(collector.collect(0x41FF_0003)?.code == 0)
        #expect(!collector.hasBegun)
        #expect(collector.collect(0x0000_FF01) == GuestAbort(code: 0, vector: nil, text: ""))
    }

    @Test func `counts above three mean three and zero means none`() {
        var collector = AbortCollector()
        #expect(collector.collect(0x4241_08FF) == nil)
        #expect(collector.collect(0x4444_4400) == nil)
        #expect(collector.collect(0x0000_FF01)?.text == "AB")
    }

    @Test func `an endless abort is ended`() {
        var collector = AbortCollector()
        var words = 0
        var result: GuestAbort?
        while result == nil, words < 1000 {
            result = collector.collect(0x4141_4103)
            words += 1
        }
        #expect(words == 342)
        #expect(result?.text == "abort text longer than 1024 bytes")
    }
}
