/// Checks that a text is strict JSON and finds its duplicate keys; it builds nothing.
///
/// Yams, which builds the tree afterwards, reads YAML and so accepts much more than JSON (comments,
/// bare words, anchors, tags). What passes here means the same in both languages; the few JSON
/// texts for which that does not hold are refused with a hint.
///
/// - Source: RFC 8259 "The JavaScript Object Notation (JSON) Data Interchange Format".
struct JSONChecker {
    /// Deepest nesting of objects and arrays.
    static let depthMax = 32
    /// Longest key in characters; Yams' parser needs one.
    static let keyCountMax = 256
    /// Most values in one file; bounds the memory of the tree.
    static let valueCountMax = 200_000

    /// A member whose key stood in the same object before.
    struct DuplicateEntry {
        let path: ConfigPath
        let position: TextPosition
        let firstPosition: TextPosition
        /// From the comma before the key to the end of the value.
        let range: Range<Int>
    }

    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var position = TextPosition.start
    private var path = ConfigPath()
    private var depth = 0
    private var valueCount = 0
    private var duplicates: [DuplicateEntry] = []

    init(_ scalars: [Unicode.Scalar]) { self.scalars = scalars }

    /// The duplicate members of a valid text; throws at the first place that is not JSON.
    mutating func check() throws(JSONSyntaxError) -> [DuplicateEntry] {
        skipSpace()
        guard peek != nil else { throw failure("the file is empty") }
        try checkValue()
        skipSpace()
        guard peek == nil else { throw failure("unexpected text after the end of the value") }
        return duplicates
    }

    /// The text with the given members blanked, so that positions of the rest stay right.
    func text(without entries: [DuplicateEntry]) -> String {
        var view = String.UnicodeScalarView()
        var blanked = scalars
        for entry in entries {
            for index in entry.range where blanked[index] != "\n" { blanked[index] = " " }
        }
        view.append(contentsOf: blanked)
        return String(view)
    }
}

// MARK: - Values

extension JSONChecker {
    private mutating func checkValue() throws(JSONSyntaxError) {
        valueCount += 1
        guard valueCount <= Self.valueCountMax else {
            throw failure("more than \(Self.valueCountMax) values", code: .tooLarge)
        }
        switch peek {
        case "{": try checkNested(isObject: true)
        case "[": try checkNested(isObject: false)
        case "\"": _ = try checkString()
        case "-": try checkNumber()
        case let digit where isDigit(digit): try checkNumber()
        case nil: throw failure("the file ends where a value should be")
        default: try checkWord()
        }
    }

    private mutating func checkNested(isObject: Bool) throws(JSONSyntaxError) {
        depth += 1
        guard depth <= Self.depthMax else {
            throw failure("nested deeper than \(Self.depthMax) levels", code: .tooDeep)
        }
        advance()
        skipSpace()
        if isObject { try checkMembers() } else { try checkElements() }
        depth -= 1
    }

    private mutating func checkMembers() throws(JSONSyntaxError) {
        var positions: [String: TextPosition] = [:]
        let outer = path
        defer { path = outer }
        if take("}") { return }
        var memberStart = index
        while true {
            guard peek == "\"" else { throw keyFailure() }
            let keyPosition = position
            let key = try checkKey()
            path = outer.appending(key: key)
            skipSpace()
            try checkValue()
            if let first = positions[key] {
                duplicates.append(
                    DuplicateEntry(
                        path: path, position: keyPosition, firstPosition: first,
                        range: memberStart..<index))
            } else {
                positions[key] = keyPosition
            }
            skipSpace()
            if take("}") { return }
            memberStart = index
            guard take(",") else { throw failure("expected \",\" or \"}\"\(found)") }
            skipSpace()
        }
    }

    private mutating func checkElements() throws(JSONSyntaxError) {
        let outer = path
        defer { path = outer }
        if take("]") { return }
        var count = 0
        while true {
            path = outer.appending(index: count)
            if peek == "]" { throw failure("a comma before \"]\" is not JSON") }
            try checkValue()
            count += 1
            skipSpace()
            if take("]") { return }
            guard take(",") else { throw failure("expected \",\" or \"]\"\(found)") }
            skipSpace()
        }
    }

    private func keyFailure() -> JSONSyntaxError {
        if peek == "}" { return failure("a comma before \"}\" is not JSON") }
        return failure("expected a key in double quotes\(found)", hint: commentHint)
    }

    /// Reads a key and its colon.
    private mutating func checkKey() throws(JSONSyntaxError) -> String {
        let start = position
        let key = try checkString()
        guard key.unicodeScalars.count <= Self.keyCountMax else {
            throw JSONSyntaxError(.syntax, start, "key longer than \(Self.keyCountMax) characters")
        }
        skipSpace()
        guard take(":") else { throw failure("expected \":\" after the key\(found)") }
        guard position.line == start.line else {
            throw JSONSyntaxError(
                .syntax, start, "a key and its \":\" must stand in one line", path: path)
        }
        return key
    }
}

// MARK: - Scalars

extension JSONChecker {
    /// Reads a string and returns what it stands for.
    private mutating func checkString() throws(JSONSyntaxError) -> String {
        let start = position
        advance()
        var value = String.UnicodeScalarView()
        while let scalar = peek {
            switch scalar {
            case "\"":
                advance()
                return String(value)
            case "\\":
                value.append(try checkEscape())
            default:
                guard Self.mayStandRaw(scalar) else {
                    let number = String(scalar.value, radix: 16)
                    throw failure(
                        "character U+\(number.uppercased()) must be written as an escape in a string"
                    )
                }
                value.append(scalar)
                advance()
            }
        }
        throw JSONSyntaxError(.syntax, start, "the string does not end", path: path)
    }

    /// JSON forbids raw C0 controls; the others are line ends or unprintable to YAML.
    private static func mayStandRaw(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0...0x1F, 0x7F...0x9F, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF: false
        default: true
        }
    }

    private mutating func checkEscape() throws(JSONSyntaxError) -> Unicode.Scalar {
        let start = position
        advance()
        let letter = peek
        advance()
        switch letter {
        case "\"": return "\""
        case "\\": return "\\"
        case "/": return "/"
        case "b": return "\u{8}"
        case "f": return "\u{C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "u": return try checkHexEscape(start)
        default:
            throw JSONSyntaxError(.syntax, start, "unknown escape in a string", path: path)
        }
    }

    private mutating func checkHexEscape(
        _ start: TextPosition
    ) throws(JSONSyntaxError) -> Unicode.Scalar {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = peek.flatMap(Self.hexValue) else {
                throw JSONSyntaxError(.syntax, start, "\\u needs four hex digits", path: path)
            }
            value = value << 4 | digit
            advance()
        }
        guard value != 0 else {
            throw JSONSyntaxError(.syntax, start, "\\u0000 is not allowed", path: path)
        }
        guard let scalar = Unicode.Scalar(value) else {
            throw JSONSyntaxError(
                .syntax, start, "surrogate escapes are not supported", path: path,
                hint: "write the character itself, in UTF-8")
        }
        return scalar
    }

    private static func hexValue(_ scalar: Unicode.Scalar) -> UInt32? {
        guard scalar.properties.isASCIIHexDigit else { return nil }
        return UInt32(String(scalar), radix: 16)
    }

    private mutating func checkNumber() throws(JSONSyntaxError) {
        _ = take("-")
        if take("0") {
            if isDigit(peek) { throw failure("a number may not start with 0") }
        } else {
            try checkDigits()
        }
        if take(".") { try checkDigits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try checkDigits()
        }
    }

    private mutating func checkDigits() throws(JSONSyntaxError) {
        guard isDigit(peek) else { throw failure("expected a digit\(found)") }
        while isDigit(peek) { advance() }
    }

    private mutating func checkWord() throws(JSONSyntaxError) {
        let start = position
        for word in ["true", "false", "null"] where hasPrefix(word) {
            for _ in word.unicodeScalars { advance() }
            return
        }
        let names = ["NaN", "Infinity", "nan", "inf"]
        if names.contains(where: { hasPrefix($0) }) {
            throw JSONSyntaxError(.syntax, start, "NaN and Infinity are not JSON", path: path)
        }
        throw failure("expected a value\(found)", hint: commentHint)
    }
}

// MARK: - Cursor

extension JSONChecker {
    private var peek: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

    private mutating func advance() {
        guard index < scalars.count else { return }
        position.advance(over: scalars[index])
        index += 1
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        advance()
        return true
    }

    private mutating func skipSpace() {
        while let scalar = peek, [" ", "\t", "\n", "\r"].contains(scalar) { advance() }
    }

    private func hasPrefix(_ word: String) -> Bool {
        scalars[index...].starts(with: word.unicodeScalars)
    }

    private func isDigit(_ scalar: Unicode.Scalar?) -> Bool {
        guard let scalar else { return false }
        return ("0"..."9").contains(scalar)
    }

    private var found: String {
        guard let scalar = peek else { return ", but the file ends" }
        return ", found \"" + String(scalar).printable + "\""
    }

    private var commentHint: String? {
        peek == "/" || peek == "#" ? "comments are not JSON" : nil
    }

    private func failure(
        _ message: String, code: ConfigProblem.Code = .syntax, hint: String? = nil
    ) -> JSONSyntaxError {
        JSONSyntaxError(code, position, message, path: path, hint: hint)
    }
}
