import Foundation
import Testing

@testable import Supervisor

struct LogRecordTests {
    private static let time = "2026-10-12T10:15:00Z"

    private func record(
        _ text: String, sandbox: String? = "echo", fields: [(String, String)] = []
    ) -> LogRecord {
        LogRecord(
            seconds: 0, microseconds: 7089, level: "warn", event: "worker.exited",
            sandbox: sandbox, text: text, fields: fields)
    }

    @Test
    func `a line for people`() {
        let line = record("it ended", fields: [("worker", "7"), ("gdb", "a b")])
            .humanLine(utcTime: Self.time)
        #expect(
            line == "10:15:00.007 warn  sandbox=echo worker.exited it ended worker=7 gdb=a b\n")
        let short = record("", sandbox: nil).humanLine(utcTime: Self.time)
        #expect(short == "10:15:00.007 warn  sandbox=- worker.exited\n")
    }

    @Test
    func `a line for programs`() {
        let line = record("it ended", fields: [("worker", "7")]).jsonLine(utcTime: Self.time)
        #expect(
            line == #"{"ts":"2026-10-12T10:15:00.007089Z","level":"warn","#
                + #""event":"worker.exited","msg":"it ended","sandbox":"echo","worker":"7"}"#
                + "\n")
    }

    private static let hostile: [(text: String, escaped: String)] = [
        ("plain ~!", "plain ~!"),
        ("a\"b", #"a\"b"#),
        (#"a\"#, #"a\\"#),
        ("a\nb\tc", #"a\nb\tc"#),
        ("\r\u{0}\u{1B}[2J", #"\u000d\u0000\u001b[2J"#),
        ("\u{7F}\u{9B}31m", #"\u007f\u009b31m"#),
        ("\u{2028}\u{2029}", #"\u2028\u2029"#),
        ("\u{202E}evil\u{202C}", #"\u202eevil\u202c"#),
        ("\u{2066}x\u{2069}\u{200F}\u{61C}", #"\u2066x\u2069\u200f\u061c"#),
        ("\",\"level\":\"fatal", #"\",\"level\":\"fatal"#),
        ("Grüße 🦜", "Grüße 🦜"),
    ]

    @Test(arguments: hostile)
    func `control characters, quotes and turned text are escaped`(
        row: (text: String, escaped: String)
    ) {
        #expect(LogRecord.escaped(row.text) == row.escaped)
    }

    @Test
    func `every character comes back from JSON, and none ends the line`() throws {
        for block in 0..<0x120 as Range<UInt32> {
            let scalars = (block << 8..<(block + 1) << 8).compactMap(Unicode.Scalar.init)
            let text = String(String.UnicodeScalarView(scalars))
            let line = record(text, fields: [("key", text)]).jsonLine(utcTime: Self.time)
            let object = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
            #expect(object["msg"].map { Array($0.unicodeScalars) } == scalars)
            #expect(object["key"].map { Array($0.unicodeScalars) } == scalars)
            #expect(line.unicodeScalars.count { $0 == "\n" } == 1)
            let human = record(text).humanLine(utcTime: Self.time)
            #expect(human.unicodeScalars.allSatisfy { $0.value >= 0x20 || $0 == "\n" })
            #expect(human.unicodeScalars.count { $0 == "\n" } == 1)
        }
    }

    @Test(arguments: ["a", "\"", "\u{1}", "é", "🦜"])
    func `a text is cut at 8192 characters`(character: String) {
        let text = String(repeating: character, count: 20_000)
        let cut = String(repeating: LogRecord.escaped(character), count: 8192)
        #expect(LogRecord.escaped(text) == cut)
    }
}
