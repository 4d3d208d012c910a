import Foundation

/// What real clients sent, changed by chance: the same bytes for the same seed.
///
/// A debugger may harm a guest on purpose. So that a guest which stops working is always a mistake
/// of ours, nothing comes out that a stub would have to obey by writing, by a breakpoint inside an
/// instruction that is then run, or by a resume before the end.
struct MutatedTraffic {
    private var random: SeededNoise
    /// Bodies as clients sent them, escapes and all.
    private let bodies: [[UInt8]]
    /// Breakpoints and watchpoints as clients inserted them: these lie where instructions begin.
    private let recordedBreakpoints: Set<[UInt8]>
    private var finder = PacketFinder()

    private(set) var byteCount = 0
    private(set) var packetCount = 0

    init(seed: UInt64) throws {
        random = SeededNoise(state: seed &* 0x9E37_79B9_7F4A_7C15 | 1)
        let recorded = try Self.recordedByGDB()
        recordedBreakpoints = Set(recorded.filter { $0.first == UInt8(ascii: "Z") })
        bodies = recorded + Self.sentByLLDB.map { Array($0.utf8) }
    }

    /// The client's side of what was recorded.
    private static func recordedByGDB() throws -> [[UInt8]] {
        let path = Machine.packageRoot + "/Tests/GDBRemoteTests/Golden/gdb-13-counter.rsp"
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            .filter { $0.hasPrefix("> $") }.map { bytes(of: $0.dropFirst(3)) }
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

    /// What lldb 14 to 23 were seen to send, and what more this stub knows.
    private static let sentByLLDB = [
        "QThreadSuffixSupported", "QListThreadsInStopReply", "qHostInfo", "QEnableErrorStrings",
        "qVAttachOrWaitSupported", "qProcessInfo", "qC", "qfThreadInfo", "qsThreadInfo", "?", "Hg1",
        "p0;thread:0001;", "p10;thread:0001;", "g;thread:0001;", "qOffsets", "jThreadsInfo",
        "qStructuredDataPlugins", "qMemoryRegionInfo:1011e4", "jThreadExtendedInfo:{\"thread\":1}]",
        "x101000,200", "x0,0", "qWatchpointSupportInfo:", "qThreadStopInfo0001",
        "QSaveRegisterState;thread:0001;", "qRegisterInfo0", "qSearch:memory:101000;1000;tick",
        "qCRC:1011c0,80", "qRcmd,68656c70", "qRcmd,737461747573", "qRcmd,6d656d2076697274",
        "qXfer:threads:read::0,1000", "qXfer:exec-file:read:400001:0,1000", "qThreadExtraInfo,1",
        "vFile:setfs:0", "vFile:open:6a7573742070726f62696e67,0,1c0", "vFile:fstat:5",
        "vFile:pread:5,1000,0", "vFile:close:5", "vAttach;400001", "D1", "D", "k", "vKill;a410",
        "!", "QNonStop:1", "qExecAndArgs", "qEcho:12", "_M1000,rx", "T1", "z1,1011e4,1",
        "z2,102320,8", "Z3,102320,8",
    ]

    // MARK: - Packets

    /// A new connection: nothing is left of the last one's half packets.
    mutating func beginConnection() { finder = PacketFinder() }

    /// Up to eight packets or what was made of them, at most about `limit` bytes.
    ///
    /// `mayInsert` allows breakpoints anywhere, for a client that lets nothing run.
    mutating func burst(atMost limit: Int, mayInsert: Bool) -> [UInt8] {
        while true {
            var burst: [UInt8] = []
            var count = 0
            while count < 8, burst.count < limit {
                burst += packet()
                count += 1
            }
            var finder = finder
            guard finder.bodies(in: burst).allSatisfy({ isHarmless($0, mayInsert: mayInsert) })
            else { continue }
            self.finder = finder
            byteCount += burst.count
            packetCount += count
            return burst
        }
    }

    /// Bytes that are sent in between and change nothing: they may end a packet that began.
    mutating func note(_ bytes: [UInt8]) { _ = finder.bodies(in: bytes) }

    /// A way to let the guest run, for the end of a connection; sometimes with an interrupt.
    mutating func resume() -> [UInt8] {
        let ways = ["vCont;c", "vCont;s:1;c", "c", "s", "vCont;r101000,102000:1"]
        let resume = RSPClient.packet(Array(ways[below(ways.count)].utf8))
        return resume + (chance(50) ? [0x03] : [])
    }

    private mutating func packet() -> [UInt8] {
        let body = bodies[below(bodies.count)]
        switch below(20) {
        case 0..<6: return RSPClient.packet(body)
        // Changed and then framed: these come further than the framing.
        case 6..<14: return RSPClient.packet(mutated(body))
        case 14..<18: return mutated(RSPClient.packet(body))
        default:
            return (0..<below(24)).map { _ in
                chance(60) ? one(of: "$#}*+-\u{3}%~0") : random.next()
            }
        }
    }

    /// `bytes` with one to four changes.
    private mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(4) {
            let place = below(bytes.count + 1)
            switch below(8) {
            case 0: bytes.insert(random.next(), at: place)
            case 1: bytes.insert(one(of: "0f,;:=-p.}$#*\u{3}+"), at: place)
            case 2: if place < bytes.count { bytes.remove(at: place) }
            case 3: if place < bytes.count { bytes[place] ^= 1 << UInt8(below(8)) }
            case 4: if place < bytes.count { bytes[place] = random.next() }
            case 5: bytes.removeLast(min(bytes.count, below(4)))
            case 6:
                let piece = bytes[place..<min(bytes.count, place + 1 + below(16))]
                bytes.insert(contentsOf: piece, at: place)
            default:
                // A number grows beyond what fits.
                let digits = [UInt8](
                    repeating: UInt8(ascii: "f"), count: [8, 16, 17, 64][below(4)])
                bytes.insert(contentsOf: digits, at: place)
            }
        }
        return bytes
    }

    private mutating func below(_ limit: Int) -> Int {
        limit < 1 ? 0 : Int(UInt16(random.next()) << 8 | UInt16(random.next())) % limit
    }

    private mutating func one(of bytes: String) -> UInt8 {
        let bytes = Array(bytes.utf8)
        return bytes[below(bytes.count)]
    }

    private mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    // MARK: - What a guest is spared

    private func isHarmless(_ body: [UInt8], mayInsert: Bool) -> Bool {
        let text = String(decoding: body, as: UTF8.self)
        switch text.first {
        case "M", "X": return !text.contains(":")
        case "P": return !text.contains("=")
        case "G": return body.count == 1
        case "Z":
            return mayInsert || text.split(separator: ",").count < 3
                || recordedBreakpoints.contains(body)
        case "c", "s", "C", "S", "R": return false
        case "v": return !text.hasPrefix("vCont;") && !text.hasPrefix("vRun")
        case "Q": return !text.hasPrefix("QRestore")
        default: return true
        }
    }
}

/// The framing of the protocol, written down once more: what a stub has to take for packets.
private struct PacketFinder {
    private enum State {
        case outside
        case body([UInt8], sum: UInt8, isEscaped: Bool)
        case sum([UInt8], sum: UInt8, digits: [UInt8])
    }

    private var state = State.outside

    /// The bodies of all good packets that end in `bytes`.
    mutating func bodies(in bytes: [UInt8]) -> [[UInt8]] {
        bytes.compactMap { take($0) }
    }

    private mutating func take(_ byte: UInt8) -> [UInt8]? {
        switch state {
        case .outside:
            if byte == UInt8(ascii: "$") { state = .body([], sum: 0, isEscaped: false) }
        case .body(let body, let sum, isEscaped: true):
            state = .body(body + [byte ^ 0x20], sum: sum &+ byte, isEscaped: false)
        case .body(let body, let sum, isEscaped: false):
            switch byte {
            case UInt8(ascii: "#"): state = .sum(body, sum: sum, digits: [])
            case UInt8(ascii: "}"): state = .body(body, sum: sum &+ byte, isEscaped: true)
            default: state = .body(body + [byte], sum: sum &+ byte, isEscaped: false)
            }
        case .sum(let body, let sum, let digits):
            guard digits.count == 1 else {
                state = .sum(body, sum: sum, digits: [byte])
                return nil
            }
            state = .outside
            let text = String(decoding: digits + [byte], as: UTF8.self)
            // A sign is no digit, whatever Swift takes.
            guard text.allSatisfy(\.isHexDigit), UInt8(text, radix: 16) == sum else { return nil }
            return body
        }
        return nil
    }
}
