import GDBRemote
import GuestModel
import SessionCore
import WireProtocol

/// One session with both sides played by a test.
struct Conversation {
    typealias Action = DebugSession.Action

    private var session: DebugSession
    private(set) var now: UInt64 = 1_000_000_000

    /// A session that nobody has connected to.
    init(symbolFile: (any SymbolFile)? = nil) {
        session = DebugSession(
            identity: TargetIdentity(process: 0x40_0001), symbolFile: symbolFile)
    }

    /// A client without acknowledgments in front of a guest that stands.
    static func stopped(
        _ stop: StopEvent = .example, facts: GuestFacts = .example,
        extended: ExtendedState? = .example,
        features: String = "qSupported:swbreak+;hwbreak+;qRelocInsn+",
        symbolFile: (any SymbolFile)? = nil
    ) -> Conversation {
        var conversation = Conversation(symbolFile: symbolFile)
        conversation.happens(.clientConnected)
        conversation.client(features)
        conversation.worker(.attached(facts))
        conversation.worker(.stopped(stop))
        conversation.worker(.extendedState(extended))
        conversation.client("QStartNoAckMode")
        return conversation
    }

    /// The same with the guest running.
    static func running() -> Conversation {
        var conversation = stopped()
        conversation.client("vCont;c")
        return conversation
    }

    var nextDeadline: UInt64? { session.nextDeadline }

    /// The client sends one packet.
    @discardableResult
    mutating func client(_ body: String) -> [Action] { bytes(frame(body)) }

    /// The client sends these bytes as they are.
    @discardableResult
    mutating func bytes(_ text: String) -> [Action] { bytes(Array(text.utf8)) }

    @discardableResult
    mutating func bytes(_ bytes: [UInt8]) -> [Action] {
        session.receive(bytes, count: bytes.count, now: now)
    }

    @discardableResult
    mutating func worker(_ reply: DebugReply) -> [Action] { happens(.workerSaid(reply)) }

    @discardableResult
    mutating func happens(_ event: DebugSession.Event) -> [Action] {
        session.handle(event, now: now)
    }

    /// Time goes by and the session is told.
    @discardableResult
    mutating func seconds(_ count: UInt64) -> [Action] {
        now += count * 1_000_000_000
        return happens(.tick)
    }
}

extension DebugSession.Action {
    /// Packets to the client; `+` stands for itself.
    static func says(_ parts: String...) -> Self {
        .sendToClient(parts.flatMap { Array(($0 == "+" ? "+" : frame($0)).utf8) })
    }
}

/// The body of a packet with output for the client's user.
func output(_ text: String) -> String { "O" + hexText(text) }

func hexText(_ text: String) -> String {
    text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// `body` as a packet; the sum is made here anew, not with the code under test.
func frame(_ body: String) -> String {
    let sum = body.utf8.reduce(0) { ($0 + Int($1)) % 256 }
    let digits = String(sum, radix: 16)
    return "$\(body)#\(digits.count < 2 ? "0" : "")\(digits)"
}

extension GuestFacts {
    static let example = GuestFacts(
        loadBias: 0x1000, firstSegmentAddress: 0x20_0000, capabilities: .complete)

    static let withAVX = GuestFacts(
        loadBias: 0x1000, firstSegmentAddress: 0x20_0000, capabilities: [.complete, .avx])
}

extension StopEvent {
    static let example = StopEvent(
        reason: .entryPoint, state: .example,
        windows: [MemoryWindow(start: .init(0x40_1000), bytes: [0x90, 0xCC, 0xF4, 0x00])])

    /// The same place for another reason.
    static func example(_ reason: StopReason) -> StopEvent {
        var event = example
        event.reason = reason
        return event
    }
}

extension VCPUState {
    static var example: VCPUState {
        var state = VCPUState()
        state.general.rip = 0x40_1000
        state.general.rsp = 0x8000
        state.general.rbp = 0x8010
        return state
    }
}

extension DebugReply {
    /// All there is, as a hole.
    static let everythingIsAHole: DebugReply = {
        let region = MappedRegion(
            start: GuestVirtualAddress(0), last: GuestVirtualAddress(.max), permissions: nil)
        return region.map { .region($0) } ?? .refused(.notSupported)
    }()
}

extension ExtendedState {
    /// All zeros.
    static let example = ExtendedState(fxsave: [UInt8](repeating: 0, count: byteCount))

    /// The same with upper halves of 0x11 everywhere, and a kernel GS base.
    static let withAVX = ExtendedState(
        fxsave: [UInt8](repeating: 0, count: byteCount),
        upperYMM: [UInt8](repeating: 0x11, count: upperYMMByteCount), kernelGSBase: 0x10)
}

/// The expedited registers of `VCPUState.example`.
let expedited =
    "thread:1;10:0010400000000000;6:1080000000000000;7:0080000000000000;11:02000000;core:0;"

extension DebugSession.Action {
    /// Bytes for the client.
    var byteCount: Int {
        if case .sendToClient(let bytes) = self { bytes.count } else { 0 }
    }
}
