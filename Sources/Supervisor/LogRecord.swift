/// One log record before it becomes a line.
///
/// Pure: time comes in, text goes out. Text from guests and clients cannot forge fields: control
/// characters and quotes are escaped.
struct LogRecord {
    let seconds: Int64
    let microseconds: Int
    let level: String
    /// A word of the documented list, for example `sandbox.state`.
    let event: String
    /// Nil for records about the supervisor itself.
    let sandbox: String?
    let text: String
    let fields: [(String, String)]

    /// Bytes of text in one record; more is cut.
    private static let textCharactersMax = 8192

    /// The record for people.
    ///
    /// `10:15:00.123 warn  sandbox=echo worker.exited the worker ended: signal 9`
    func humanLine(utcTime: String) -> String {
        let clock = utcTime.dropFirst(11).prefix(8)
        var line = "\(clock).\(padded(microseconds / 1000, 3)) "
        line += level.padding(5) + " sandbox=\(sandbox ?? "-") \(event)"
        if !text.isEmpty { line += " " + Self.escaped(text) }
        for (name, value) in fields { line += " \(name)=\(Self.escaped(value))" }
        return line + "\n"
    }

    /// One JSON object; the fields in this order: ts, level, event, msg, sandbox, then the others.
    func jsonLine(utcTime: String) -> String {
        let time = "\(utcTime.dropLast()).\(padded(microseconds, 6))Z"
        var pairs = [
            ("ts", time), ("level", level), ("event", event), ("msg", text),
            ("sandbox", sandbox ?? "-"),
        ]
        pairs += fields
        let body = pairs.map { "\"\(Self.escaped($0))\":\"\(Self.escaped($1))\"" }
        return "{\(body.joined(separator: ","))}\n"
    }

    private func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// `text` with everything that could end a string, a line or a terminal's patience escaped.
    static func escaped(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy {
            (0x20..<0x7F).contains($0) && $0 != 0x22 && $0 != 0x5C
        }
        if isPlain, text.utf8.count <= textCharactersMax { return text }
        var result = ""
        for scalar in text.unicodeScalars.prefix(textCharactersMax) {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{61C}", "\u{200E}"..."\u{200F}",
                "\u{2028}"..."\u{202E}", "\u{2066}"..."\u{2069}":
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension String {
    fileprivate func padding(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
