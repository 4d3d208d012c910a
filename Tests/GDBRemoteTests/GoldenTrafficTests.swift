import Foundation
import GDBRemote
import GuestModel
import Testing

/// Traffic recorded from real debuggers: see the files in `Golden`.
struct GoldenTrafficTests {
    private struct Line {
        let isFromClient: Bool
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    static let gdbs = ["gdb-13", "gdb-13-mi", "gdb-16", "gdb-17", "gdb-18", "gdb-18-dap"]
    static let lldbs = ["lldb-14", "lldb-16", "lldb-19", "lldb-19-dap", "lldb-22", "lldb-23"]

    private func lines(of client: String) throws -> [Line] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Golden/\(client)-counter-pie.rsp")
        return try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            .filter { $0.dropFirst(2).hasPrefix("$") }
            .map { Line(isFromClient: $0.hasPrefix("> "), body: Self.bytes(of: $0.dropFirst(3))) }
    }

    @Test(arguments: gdbs + lldbs)
    func `nothing that a client sends is malformed`(_ client: String) throws {
        let bodies = try lines(of: client).filter(\.isFromClient).map(\.body)
        #expect(bodies.count > 80)
        for body in bodies { _ = try Command(body: Self.unescaped(body)) }
    }

    @Test func `clients are denied only what they can do without`() throws {
        var denied: Set<String> = []
        for client in Self.gdbs + Self.lldbs {
            let bodies = try lines(of: client).filter(\.isFromClient).map(\.body)
            for body in bodies where try Command(body: Self.unescaped(body)) == .unsupported {
                denied.insert(String(decoding: body, as: UTF8.self))
            }
        }
        #expect(denied.sorted() == Self.dispensable)
    }

    /// What asks for things that a guest has none of, or what an empty answer is right for.
    private static let dispensable = [
        "jThreadExtendedInfo:", "qExecAndArgs", "qStructuredDataPlugins", "qTStatus",
        "qVAttachOrWaitSupported", "vMustReplyEmpty",
    ]

    @Test(arguments: gdbs)
    func `the description of the target is what was sent`(_ client: String) throws {
        var sent: [UInt8] = []
        let lines = try lines(of: client)
        for (line, next) in zip(lines, lines.dropFirst()) where line.isFromClient {
            guard case .readObject(.targetDescription, let offset, _) = try Command(body: line.body)
            else {
                continue
            }
            // Each connection reads it anew.
            if offset == 0 { sent = [] }
            #expect(offset == sent.count)
            sent += next.body.dropFirst()
        }
        #expect(sent == TargetDescription.bytes(for: RegisterLayout(hasAVX: false)))
    }

    @Test(arguments: gdbs)
    func `every stop names its registers as we write them`(_ client: String) throws {
        let stops = try lines(of: client)
            .filter { !$0.isFromClient && $0.body.first == UInt8(ascii: "T") }
            .filter { !$0.text.hasPrefix("TextSeg") }
        #expect(stops.count > 4)
        for stop in stops {
            var registers = RegisterFile()
            registers.rip = try Self.register("10", in: stop.text)
            registers.rbp = try Self.register("6", in: stop.text)
            registers.rsp = try Self.register("7", in: stop.text)
            registers.rflags = try Self.register("11", in: stop.text)
            let reason = Self.reason(of: stop.text, at: registers.rip)
            let again = framed {
                $0.packet(
                    .stopped(reason), registers: registers, identity: identity,
                    features: [.multiprocess, .softwareBreakReason, .hardwareBreakReason])
            }
            #expect(again.dropFirst().dropLast(3) == stop.text)
        }
    }

    private static func reason(of text: String, at rip: UInt64) -> StopReason {
        if text.contains("swbreak:;") { return .softwareBreakpoint(.init(rip)) }
        if text.contains("hwbreak:;") { return .hardwareBreakpoint(.init(rip)) }
        if text.hasPrefix("T02") { return .interrupted }
        for (name, kind) in [("T05watch", WatchKind.write), ("T05awatch", .access)]
        where text.hasPrefix(name) {
            let digits = text.dropFirst(name.count + 1).prefix { $0 != ";" }
            return .watchpoint(kind, .init(UInt64(digits, radix: 16) ?? 0))
        }
        return .stepped
    }

    /// The value behind `;NUMBER:` in target order.
    private static func register(_ number: String, in text: String) throws -> UInt64 {
        let start = try #require(text.range(of: ";\(number):")).upperBound
        let digits = text[start...].prefix { $0 != ";" }
        let value = try #require(UInt64(digits, radix: 16))
        return digits.count == 16 ? value.byteSwapped : value.byteSwapped >> 32
    }

    /// `\xNN` stands for a byte that is no text.
    private static func bytes(of text: Substring) -> [UInt8] {
        var result: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let first = rest.first {
            if first == UInt8(ascii: "\\"), rest.count >= 4 {
                let digits = String(decoding: rest.dropFirst(2).prefix(2), as: UTF8.self)
                result.append(UInt8(digits, radix: 16) ?? first)
                rest = rest.dropFirst(4)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }

    private static func unescaped(_ body: [UInt8]) -> [UInt8] {
        var decoder = PacketDecoder()
        let sum = body.reduce(UInt8(0)) { $0 &+ $1 }
        let digits = Array(String(sum, radix: 16).utf8)
        let padding: [UInt8] = digits.count < 2 ? [UInt8(ascii: "0")] : []
        let frame = Array("$".utf8) + body + Array("#".utf8) + padding + digits
        for byte in frame { _ = decoder.receive(byte) }
        return decoder.body
    }
}
