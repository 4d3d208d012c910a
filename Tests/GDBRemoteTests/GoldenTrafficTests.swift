import Foundation
import GDBRemote
import GuestModel
import Testing

/// Traffic recorded from a real gdb: see the files in `Golden`.
struct GoldenTrafficTests {
    private struct Line {
        let isFromClient: Bool
        let body: [UInt8]
    }

    private let lines: [Line]

    init() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Golden/gdb13-counter.rsp")
        lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            .filter { $0.dropFirst(2).hasPrefix("$") }
            .map { Line(isFromClient: $0.hasPrefix("> "), body: Self.bytes(of: $0.dropFirst(3))) }
    }

    @Test func `nothing that gdb sends is malformed`() throws {
        let bodies = lines.filter(\.isFromClient).map(\.body)
        #expect(bodies.count > 80)
        for body in bodies { _ = try Command(body: Self.unescaped(body)) }
    }

    @Test func `gdb is denied only what it can do without`() throws {
        let denied = try lines.filter(\.isFromClient).map(\.body)
            .filter { try Command(body: Self.unescaped($0)) == .unsupported }
        let names = Set(denied.map { String(decoding: $0, as: UTF8.self) })
        #expect(names == ["vMustReplyEmpty", "qTStatus"])
    }

    @Test func `the description of the target is what was sent`() throws {
        var sent: [UInt8] = []
        for (line, next) in zip(lines, lines.dropFirst()) where line.isFromClient {
            guard case .readObject(.targetDescription, let offset, _) = try Command(body: line.body)
            else {
                continue
            }
            #expect(offset == sent.count)
            sent += next.body.dropFirst()
        }
        #expect(sent == TargetDescription.bytes(for: RegisterLayout(hasAVX: false)))
    }

    @Test func `every stop names its registers as we write them`() throws {
        let stops = lines.filter { !$0.isFromClient && $0.body.starts(with: "T05".utf8) }
        #expect(stops.count > 4)
        for stop in stops {
            let text = String(decoding: stop.body, as: UTF8.self)
            var registers = RegisterFile()
            registers.rip = try Self.register("10", in: text)
            registers.rbp = try Self.register("6", in: text)
            registers.rsp = try Self.register("7", in: text)
            registers.rflags = try Self.register("11", in: text)
            let reason = Self.reason(of: text, at: registers.rip)
            let again = framed {
                $0.packet(
                    .stopped(reason), registers: registers, identity: identity,
                    features: [.multiprocess, .softwareBreakReason, .hardwareBreakReason])
            }
            #expect(again.dropFirst().dropLast(3) == text)
        }
    }

    private static func reason(of text: String, at rip: UInt64) -> StopReason {
        if text.contains("swbreak:;") { return .softwareBreakpoint(.init(rip)) }
        if text.contains("hwbreak:;") { return .hardwareBreakpoint(.init(rip)) }
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
