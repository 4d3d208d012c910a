import GDBRemote
import GuestModel
import Testing

struct PacketEncoderTests {
    @Test(arguments: [("", "$#00"), ("OK", "$OK#9a"), ("vCont;c;C;s;S;r", "$vCont;c;C;s;S;r#0f")])
    func `a text is framed`(_ text: String, _ expected: String) {
        #expect(framed { $0.packet(text) } == expected)
    }

    @Test func `marks of the framing are escaped in binary data`() {
        let memory: [UInt8] = Array("a#$}*b".utf8)
        let text = framed { $0.packet(memory: memory.span, form: .binary) }
        #expect(text.hasPrefix("$ba}\u{3}}\u{4}}]}\u{A}b#"))
    }

    @Test func `what is encoded is decoded to the same`() {
        let memory: [UInt8] = (0...255).map { UInt8($0) }
        var encoder = PacketEncoder()
        encoder.packet(memory: memory.span, form: .binary)
        var decoder = PacketDecoder()
        var index = 0
        let bytes = encoder.take()
        #expect(decoder.receive(bytes.span, from: &index) == .packet)
        #expect(decoder.body == [UInt8(ascii: "b")] + memory)
    }

    @Test func `memory in hex`() {
        let memory: [UInt8] = [0x00, 0x1F, 0xFF]
        #expect(framed { $0.packet(memory: memory.span, form: .hex) } == "$001fff#c3")
    }

    @Test func `a binary reply never exceeds the packet size`() {
        let memory = [UInt8](repeating: UInt8(ascii: "#"), count: PacketLimits.bodyBytesMax)
        var encoder = PacketEncoder()
        encoder.packet(memory: memory.span, form: .binary)
        let limit = PacketLimits.bodyBytesMax + PacketLimits.framingBytes
        #expect(encoder.bytes.count <= limit)
        #expect(encoder.bytes.count > limit - 4)
    }

    @Test(arguments: [
        (0, 3, "$mabc#93"), (3, 3, "$ldef#9b"), (3, 99, "$ldef#9b"), (6, 5, "$l#6c"),
        (99, 5, "$l#6c"),
    ])
    func `an object comes in pieces`(_ offset: Int, _ byteCount: Int, _ expected: String) {
        let object: [UInt8] = Array("abcdef".utf8)
        let text = framed {
            $0.packet(object: object.span, offset: offset, byteCount: byteCount)
        }
        #expect(text == expected)
    }

    @Test func `errors come as numbers or words as the client likes`() {
        #expect(framed { $0.packet(.notMapped, for: []) } == "$E0e#da")
        let words = framed { $0.packet(.notMapped, for: [.errorMessage]) }
        #expect(words.hasPrefix("$E.address is not mapped#"))
    }

    @Test func `words of an error cannot break the framing`() {
        #expect(framed { $0.refusal("a#b$c}d*\u{7}é") }.hasPrefix("$E.a?b?c?d????#"))
    }
}

struct StopReplyTests {
    private static let tail =
        "10:efbeadde00000000;6:0200000000000000;7:0300000000000000;11:46020000;"

    private static let stops: [(StopReason, ClientFeatures, String)] = [
        (.stepped, [], "T05thread:1;"),
        (.entryPoint, [.hardwareBreakReason], "T05thread:1;"),
        (.interrupted, [.multiprocess], "T02thread:p400001.1;"),
        (.softwareBreakpoint(.init(1)), [.softwareBreakReason], "T05swbreak:;thread:1;"),
        (.softwareBreakpoint(.init(1)), [.hardwareBreakReason], "T05thread:1;"),
        (.hardwareBreakpoint(.init(1)), [.hardwareBreakReason], "T05hwbreak:;thread:1;"),
        (.crashed(.tripleFault), [], "T0bthread:1;"),
        (.crashed(.unsupportedInstruction(bytes: [])), [], "T04thread:1;"),
        (.crashed(.aborted(code: 1, text: "")), [], "T06thread:1;"),
    ]

    @Test(arguments: stops)
    func `a stop carries reason, thread and registers`(
        _ reason: StopReason, _ features: ClientFeatures, _ head: String
    ) {
        var registers = RegisterFile()
        registers.rip = 0xDEAD_BEEF
        registers.rbp = 2
        registers.rsp = 3
        registers.rflags = 0x246
        let text = framed {
            $0.packet(
                .stopped(reason), registers: registers, identity: identity, features: features)
        }
        #expect(text.dropLast(3) == "$" + head + Self.tail + "core:0;")
    }

    private static let ends: [(StopReply, ClientFeatures, String)] = [
        (.exited(code: 0), [], "$W00#b7"),
        (.exited(code: 0), [.multiprocess], "$W00;process:400001#50"),
        (.killed(signal: 9), [], "$X09#c1"),
        (.killed(signal: 11), [.multiprocess], "$X0b;process:400001#83"),
    ]

    @Test(arguments: ends)
    func `an end names its code or signal`(
        _ reply: StopReply, _ features: ClientFeatures, _ expected: String
    ) {
        let text = framed {
            $0.packet(reply, registers: .init(), identity: identity, features: features)
        }
        #expect(text == expected)
    }
}

let identity = TargetIdentity(process: 0x40_0001)

/// What `build` encodes, as text.
func framed(_ build: (inout PacketEncoder) -> Void) -> String {
    var encoder = PacketEncoder()
    build(&encoder)
    return String(decoding: encoder.bytes, as: UTF8.self)
}
