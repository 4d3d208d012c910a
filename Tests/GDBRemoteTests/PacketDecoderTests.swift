import GDBRemote
import Testing

struct PacketDecoderTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let input: String
        let expected: [Heard]

        init(_ name: String, _ input: String, _ expected: [Heard]) {
            self.name = name
            self.input = input
            self.expected = expected
        }

        var testDescription: String { name }
    }

    /// An event, with the body where there is one.
    enum Heard: Equatable, Sendable {
        case packet(String)
        case event(PacketDecoder.Event)
    }

    static let cases = [
        Case("one packet", "$g#67", [.packet("g")]),
        Case("an empty body", "$#00", [.packet("")]),
        Case("upper-case digits", "$qC#B4", [.packet("qC")]),
        Case(
            "what clients open with", "+$?#3f+",
            [.event(.acknowledged), .packet("?"), .event(.acknowledged)]),
        Case("two packets at once", "$g#67$?#3f", [.packet("g"), .packet("?")]),
        Case("an interrupt between packets", "$c#63\u{3}", [.packet("c"), .event(.interrupt)]),
        Case("0x03 inside a body is data", "$X\u{3}#5b", [.packet("X\u{3}")]),
        Case("an escaped byte", "$a}\u{3}b#43", [.packet("a#b")]),
        Case("an escaped escape", "$}]#da", [.packet("}")]),
        Case("garbage between packets", "+xyz\r\n$g#67", [.event(.acknowledged), .packet("g")]),
        Case("a wrong sum", "$g#68", [.event(.badChecksum)]),
        Case("a sum that is no number", "$g#6x$g#67", [.event(.badChecksum), .packet("g")]),
        Case("a request to resend", "-", [.event(.resendRequested)]),
        Case("a browser", "GET / HTTP/1.1\r\n", [.event(.notADebugger)]),
        Case("a browser with a packet inside", "POST $c#63", [.event(.notADebugger)]),
    ]

    @Test(arguments: cases)
    func `a stream is heard the same however it is cut`(_ example: Case) {
        let bytes = Array(example.input.utf8)
        for cut in 0...bytes.count {
            #expect(hear([Array(bytes[..<cut]), Array(bytes[cut...])]) == example.expected)
        }
        #expect(hear(bytes.map { [$0] }) == example.expected)
    }

    @Test func `of all first bytes four are a debugger's`() {
        for byte in 0...UInt8.max {
            var decoder = PacketDecoder()
            let event = decoder.receive(byte)
            #expect((event != .notADebugger) == "+-$\u{3}".utf8.contains(byte), "\(byte)")
        }
    }

    @Test(arguments: 1...20)
    func `any bytes are heard the same however they are cut`(seed: UInt64) {
        var random = SplitMix(state: seed)
        var stream = Array("+".utf8)
        for _ in 0..<200 {
            switch random.next() % 4 {
            case 0: stream.append(random.byte("$#}*+-%0a\u{3}"))
            case 1:
                let body = (0..<random.next() % 8).map { _ in random.byte("m0,:}#$\u{3}") }
                stream += framed { $0.append(escaping: body.span) }.utf8
            case 2: stream += Array("$qC#b4".utf8)
            default: stream += Array("$qC#b5".utf8).prefix(Int(random.next() % 7))
            }
        }
        let whole = hear([stream])
        #expect(hear(stream.map { [$0] }) == whole)
        for _ in 0..<100 {
            var pieces: [[UInt8]] = []
            var rest = stream[...]
            while !rest.isEmpty {
                let count = Int(random.next() % 16)
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            #expect(hear(pieces) == whole)
        }
    }

    @Test func `an escape takes the mark of the end with it`() {
        // The body goes on: the sum of what follows is wrong, and the next packet is whole.
        #expect(
            hear([Array("$qC}#b4$qC#b4$qC#b4".utf8)]) == [
                .event(.badChecksum), .packet("qC"),
            ])
        #expect(hear([Array("$}##a0".utf8)]) == [.packet("\u{3}")])
        #expect(hear([Array("$}}#fa".utf8)]) == [.packet("]")])
    }

    @Test func `a body of the largest size is taken`() {
        let bytes = [UInt8](repeating: UInt8(ascii: "0"), count: PacketLimits.bodyBytesMax)
        let events = hear([Array("$".utf8), bytes, Array("#00".utf8)])
        #expect(events == [.packet(String(decoding: bytes, as: UTF8.self))])
    }

    @Test func `a body one byte too long is skipped up to its end`() {
        let bytes = [UInt8](repeating: UInt8(ascii: "0"), count: PacketLimits.bodyBytesMax + 1)
        let events = hear([Array("$".utf8), bytes, Array("#30$g#67".utf8)])
        #expect(events == [.event(.oversized), .packet("g")])
    }

    @Test func `a packet without end takes bounded memory`() {
        var decoder = PacketDecoder()
        _ = decoder.receive(UInt8(ascii: "$"))
        for _ in 0..<PacketLimits.bodyBytesMax * 2 { _ = decoder.receive(UInt8(ascii: "a")) }
        #expect(decoder.body.count <= PacketLimits.bodyBytesMax)
        #expect(decoder.isInsidePacket)
    }

    @Test func `F17: bytes that belong to no packet are told of after 64 KiB`() {
        let noise = [UInt8](repeating: UInt8(ascii: "x"), count: PacketLimits.garbageBytesMax)
        #expect(hear([Array("+".utf8), noise, noise]).last == .event(.garbage))
        // A good packet is a new beginning.
        let events = hear([Array("+".utf8), noise, Array("$g#67".utf8), noise])
        #expect(events == [.event(.acknowledged), .packet("g")])
    }

    @Test func `random bytes after a good start never stop the decoder`() {
        var random = SplitMix(state: 7)
        for _ in 0..<200 {
            var decoder = PacketDecoder()
            _ = decoder.receive(UInt8(ascii: "+"))
            for _ in 0..<300 { _ = decoder.receive(random.byte("$#}+-0a\u{3}")) }
            // Whatever came before, at most one packet is eaten until the next is heard.
            let heard = "#00$#00$g#67".utf8.compactMap { decoder.receive($0) }
            #expect(heard.last == .packet)
        }
    }

    private func hear(_ pieces: [[UInt8]]) -> [Heard] {
        var decoder = PacketDecoder()
        var heard: [Heard] = []
        for piece in pieces {
            var index = 0
            while let event = decoder.receive(piece.span, from: &index) {
                switch event {
                case .packet: heard.append(.packet(String(decoding: decoder.body, as: UTF8.self)))
                case .notADebugger: return heard + [.event(.notADebugger)]
                case .acknowledged, .badChecksum, .garbage, .interrupt, .oversized,
                    .resendRequested:
                    heard.append(.event(event))
                }
            }
            if heard.last == .event(.notADebugger) { return heard }
        }
        return heard
    }
}

/// Repeatable randomness.
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    /// One of `alphabet` or, now and then, any byte.
    mutating func byte(_ alphabet: String) -> UInt8 {
        let bytes = Array(alphabet.utf8)
        let value = next()
        return value & 7 == 0
            ? UInt8(truncatingIfNeeded: value >> 8) : bytes[Int(value >> 8 & 0xFFFF) % bytes.count]
    }
}
