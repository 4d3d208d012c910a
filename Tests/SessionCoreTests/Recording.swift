import Foundation
import GDBRemote
import GuestModel
import WireProtocol

/// One session recorded from a real gdb, and a worker that gives what was recorded.
struct Recording {
    /// What the client sent at once and what it got for it.
    struct Exchange {
        var sent: [UInt8]
        /// The body of the reply; nil when only an acknowledgment came, or nothing.
        var body: [UInt8]?
        var received: [UInt8] = []
    }

    private(set) var exchanges: [Exchange] = []

    /// The sessions of the file `name` in the folder of golden traffic.
    static func sessions(of name: String) throws -> [Recording] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../GDBRemoteTests/Golden/\(name)")
        var sessions = [Recording()]
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            if line.hasPrefix("# end of the connection") { sessions.append(Recording()) }
            sessions[sessions.count - 1].append(line)
        }
        return sessions.filter { !$0.exchanges.isEmpty }
    }

    private mutating func append(_ line: Substring) {
        let bytes = Self.bytes(of: line.dropFirst(2))
        let body = bytes.first == UInt8(ascii: "$") ? Array(bytes.dropFirst()) : nil
        let frame = body.map(Self.framed) ?? bytes
        if line.hasPrefix("> ") {
            exchanges.append(Exchange(sent: frame))
        } else if line.hasPrefix("< "), !exchanges.isEmpty {
            exchanges[exchanges.count - 1].received += frame
            if let body { exchanges[exchanges.count - 1].body = body }
        }
    }

    /// The worker's part in exchange `index`.
    func replies(to request: DebugRequest, in index: Int) throws -> [DebugReply] {
        switch request {
        case .attach: [.attached(facts), .stopped(try stop(from: index))]
        case .resume, .interrupt: isStop(index) ? [.stopped(try stop(from: index))] : []
        case .readMemory(let address, let count): memory(at: address, Int(count), in: index)
        case .readExtendedState: [.extendedState(try registers(from: index).extended)]
        case .readPhysicalMemory: [.memory(Self.unhex(exchanges[index].body ?? []))]
        case .describeRegion: [.everythingIsAHole]
        case .inspect: [.report("a line\n")]
        case .restartGuest: [.done, .stopped(try stop(from: index))]
        case .writeMemory, .writePhysicalMemory, .writeRegisters, .writeState, .insertBreakpoint,
            .removeBreakpoint, .insertWatchpoint, .removeWatchpoint, .detach:
            [.done]
        }
    }

    /// What the client was told that the image is called.
    var fileName: String { answer(beginningWith: "l/").map { "/" + $0 } ?? "/guest/unknown" }

    /// Where the client was told that the image lies.
    private var facts: GuestFacts {
        let offset = answer(beginningWith: "TextSeg=").flatMap { UInt64($0, radix: 16) }
        return GuestFacts(
            loadBias: offset ?? 0, firstSegmentAddress: 0, capabilities: .complete)
    }

    /// The rest of the first reply that begins so.
    private func answer(beginningWith head: String) -> String? {
        let body = exchanges.lazy.compactMap(\.body).first { $0.starts(with: head.utf8) }
        return body.map { String(decoding: $0.dropFirst(head.utf8.count), as: UTF8.self) }
    }

    /// Memory as the reply shows it: in hex, in binary, run-length coded, or as a place of a search.
    private func memory(
        at address: GuestVirtualAddress, _ count: Int, in index: Int
    ) -> [DebugReply] {
        let (sent, body) = (exchanges[index].sent, exchanges[index].body ?? [])
        if sent.starts(with: "$qSearch".utf8) {
            return [.memory(searched(at: address, count, sent, body))]
        }
        if body.first == UInt8(ascii: "E") { return [.refused(.notMapped)] }
        if sent.starts(with: "$qCRC".utf8) { return [.memory([UInt8](repeating: 0, count: count))] }
        if sent.starts(with: "$x".utf8) {
            return [.memory(Self.unescaped(body.dropFirst()))]
        }
        return [.memory(Self.unhex(Self.expanded(body)))]
    }

    /// Zeros with what was searched for where it was found.
    private func searched(
        at address: GuestVirtualAddress, _ count: Int, _ sent: [UInt8], _ body: [UInt8]
    ) -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: count)
        let pattern = sent.dropLast(3).reversed().prefix { $0 != UInt8(ascii: ";") }.reversed()
        guard body.starts(with: "1,".utf8),
            let found = UInt64(String(decoding: body.dropFirst(2), as: UTF8.self), radix: 16)
        else { return memory }
        let start = Int(found - address.rawValue)
        memory.replaceSubrange(start..<start + pattern.count, with: pattern)
        return memory
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
        return StopEvent(reason: Self.reason(of: text, at: address), state: state, windows: [])
    }

    private static func reason(of text: String, at address: GuestVirtualAddress) -> StopReason {
        if text.contains("swbreak:;") { return .softwareBreakpoint(address) }
        if text.contains("hwbreak:;") { return .hardwareBreakpoint(address) }
        if text.hasPrefix("T02") { return .interrupted }
        let kinds: [(String, WatchKind)] = [
            ("T05watch", .write), ("T05rwatch", .read), ("T05awatch", .access),
        ]
        for (name, kind) in kinds where text.hasPrefix(name) {
            let digits = text.dropFirst(name.count + 1).prefix { $0 != ";" }
            return .watchpoint(kind, .init(UInt64(digits, radix: 16) ?? 0))
        }
        return .stepped
    }

    private func isStop(_ index: Int) -> Bool {
        let body = exchanges[index].body ?? []
        return body.starts(with: "T05".utf8) || body.starts(with: "T02".utf8)
    }

    /// What the client saw of all registers before the next stop, zeros when it did not look.
    private func registers(from index: Int) throws -> (state: VCPUState, extended: ExtendedState?) {
        let rest = exchanges.indices.dropFirst(index + 1)
        // While it attaches, the client has not been told of its first stop yet.
        let isAttaching = !exchanges.indices[...index].contains(where: isStop)
        let end =
            rest.lazy.filter(isStop).dropFirst(isAttaching ? 1 : 0).first ?? exchanges.endIndex
        let packet = Self.framed(Array("g".utf8))
        var state = VCPUState()
        let known = ExtendedState.example.flatMap {
            ExtendedState(fxsave: $0.bytes, kernelGSBase: 0)
        }
        let shown = ([index] + rest).first { $0 < end && exchanges[$0].sent == packet }
        guard let shown, let body = exchanges[shown].body else { return (state, known) }
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
            state, extended: known, layout: RegisterLayout(hasAVX: false))
        try image.write(leading: bytes)
        return (image.state(replacing: state), known.map(image.extended))
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

    /// What a reply with runs stands for.
    private static func expanded(_ body: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var rest = body[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "*"), let count = rest.popFirst(), let last = result.last {
                result += [UInt8](repeating: last, count: Int(count) - 29)
            } else {
                result.append(byte)
            }
        }
        return result
    }

    /// What a binary reply stands for.
    private static func unescaped(_ body: some Collection<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var rest = Array(body)[...]
        while let byte = rest.popFirst() {
            let isEscape = byte == UInt8(ascii: "}")
            result.append(isEscape ? (rest.popFirst() ?? 0) ^ 0x20 : byte)
        }
        return result
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
