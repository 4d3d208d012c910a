import Foundation
import GDBRemote
import GuestModel
import WireProtocol

/// Traffic recorded from a real gdb, and a worker that gives what was recorded.
struct Recording {
    /// What the client sent at once and what it got for it.
    struct Exchange {
        var sent: [UInt8]
        /// The body of the reply; nil when only an acknowledgment came, or nothing.
        var body: [UInt8]?
        var received: [UInt8] = []
    }

    private(set) var exchanges: [Exchange] = []

    /// Reads the file `name` in the folder of golden traffic.
    init(named name: String) throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../GDBRemoteTests/Golden/\(name)")
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            let body = line.dropFirst(2).hasPrefix("$") ? Self.bytes(of: line.dropFirst(3)) : nil
            let frame = body.map(Self.framed) ?? Array(line.dropFirst(2).utf8)
            if line.hasPrefix("> ") {
                exchanges.append(Exchange(sent: frame))
            } else if line.hasPrefix("< "), !exchanges.isEmpty {
                exchanges[exchanges.count - 1].received += frame
                if let body { exchanges[exchanges.count - 1].body = body }
            }
        }
    }

    /// The worker's part in exchange `index`.
    func replies(to request: DebugRequest, in index: Int) throws -> [DebugReply] {
        switch request {
        case .attach: [.attached(facts), .stopped(try stop(from: index))]
        case .resume: [.stopped(try stop(from: index))]
        case .readMemory: [.memory(Self.unhex(exchanges[index].body ?? []))]
        case .readExtendedState: [.extendedState(try registers(from: index).extended)]
        case .readPhysicalMemory: [.memory(Self.unhex(exchanges[index].body ?? []))]
        case .describeRegion: [.everythingIsAHole]
        case .inspect: [.report("a line\n")]
        case .restartGuest: [.done, .stopped(try stop(from: index))]
        case .writeMemory, .writePhysicalMemory, .writeRegisters, .writeState, .insertBreakpoint,
            .removeBreakpoint, .insertWatchpoint, .removeWatchpoint, .detach:
            [.done]
        case .interrupt: []
        }
    }

    private var facts: GuestFacts {
        GuestFacts(loadBias: 0, firstSegmentAddress: 0x10_0000, capabilities: .complete)
    }

    /// The first stop that the client was told from exchange `index` on.
    private func stop(from index: Int) throws -> StopEvent {
        let found = exchanges.indices.first { index <= $0 && isStop($0) }
        guard let found, let body = exchanges[found].body else { throw Missing.stop }
        let text = String(decoding: body, as: UTF8.self)
        var state = try registers(from: found).state
        state.general.rip = try Self.register("10", in: text)
        state.general.rbp = try Self.register("6", in: text)
        state.general.rsp = try Self.register("7", in: text)
        state.general.rflags = try Self.register("11", in: text)
        let address = GuestVirtualAddress(state.general.rip)
        let reason: StopReason =
            text.contains("swbreak:;")
            ? .softwareBreakpoint(address)
            : text.contains("hwbreak:;") ? .hardwareBreakpoint(address) : .stepped
        return StopEvent(reason: reason, state: state, windows: [])
    }

    private func isStop(_ index: Int) -> Bool {
        exchanges[index].body?.starts(with: "T05".utf8) ?? false
    }

    /// What the client saw of all registers before the next stop, zeros when it did not look.
    private func registers(from index: Int) throws -> (state: VCPUState, extended: ExtendedState?) {
        let rest = exchanges.indices.dropFirst(index + 1)
        let end = rest.first(where: isStop) ?? exchanges.endIndex
        let packet = Self.framed(Array("g".utf8))
        var state = VCPUState()
        let shown = ([index] + rest).first { $0 < end && exchanges[$0].sent == packet }
        guard let shown, let body = exchanges[shown].body else { return (state, .example) }
        let bytes = Self.unhex(body)
        func word(_ offset: Int, _ count: Int) -> UInt64 {
            bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        let selectors: [WritableKeyPath<SystemRegisters, Segment>] = [
            \.cs, \.ss, \.ds, \.es, \.fs, \.gs,
        ]
        for (number, path) in selectors.enumerated() {
            state.system[keyPath: path].selector = UInt16(word(140 + 4 * number, 4))
        }
        let control: [WritableKeyPath<SystemRegisters, UInt64>] = [
            \.cr0, \.cr2, \.cr3, \.cr4, \.cr8, \.efer,
        ]
        for (number, path) in control.enumerated() {
            state.system[keyPath: path] = word(560 + 8 * number, 8)
        }
        var image = RegisterImage(
            state, extended: .example, layout: RegisterLayout(hasAVX: false))
        try image.write(leading: bytes)
        return (image.state(replacing: state), ExtendedState.example.map(image.extended))
    }

    enum Missing: Error {
        case stop
        case register(String)
    }

    /// The value behind `;NUMBER:` in target order.
    private static func register(_ number: String, in text: String) throws -> UInt64 {
        guard let start = text.range(of: ";\(number):")?.upperBound else {
            throw Missing.register(number)
        }
        return unhex(text[start...].prefix { $0 != ";" }.utf8).reversed()
            .reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Pairs of digits; `xx` is zero.
    private static func unhex(_ digits: some Collection<UInt8>) -> [UInt8] {
        let digits = Array(digits)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16) ?? 0
        }
    }

    private static func framed(_ body: [UInt8]) -> [UInt8] {
        let digits = String(body.reduce(UInt8(0)) { $0 &+ $1 }, radix: 16)
        return Array("$".utf8) + body + Array("#\(digits.count < 2 ? "0" : "")\(digits)".utf8)
    }

    /// `\xNN` stands for a byte that is no text.
    private static func bytes(of text: Substring) -> [UInt8] {
        var result: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let first = rest.first {
            let isCode = first == UInt8(ascii: "\\") && rest.count >= 4
            let digits = String(decoding: rest.dropFirst(2).prefix(2), as: UTF8.self)
            result.append(isCode ? UInt8(digits, radix: 16) ?? first : first)
            rest = rest.dropFirst(isCode ? 4 : 1)
        }
        return result
    }
}
