/// Why a text is not strict JSON, and where.
struct JSONSyntaxError: Error {
    var code: ConfigProblem.Code
    var position: TextPosition
    var path: ConfigPath
    var message: String
    var hint: String?

    init(
        _ code: ConfigProblem.Code, _ position: TextPosition, _ message: String,
        path: ConfigPath = ConfigPath(), hint: String? = nil
    ) {
        self.code = code
        self.position = position
        self.path = path
        self.message = message
        self.hint = hint
    }
}

/// Bytes to Unicode scalars, refusing what is not UTF-8.
enum TextDecoder {
    static func scalars(of bytes: [UInt8]) throws(JSONSyntaxError) -> [Unicode.Scalar] {
        var scalars: [Unicode.Scalar] = []
        scalars.reserveCapacity(bytes.count)
        var position = TextPosition.start
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .emptyInput:
                return scalars
            case .error:
                throw JSONSyntaxError(.invalidText, position, "not UTF-8")
            case .valid(let encoded):
                let scalar = Unicode.UTF8.decode(encoded)
                if scalar.value == 0xFEFF, scalars.isEmpty {
                    throw JSONSyntaxError(
                        .invalidText, position, "starts with a byte order mark",
                        hint: "save the file as UTF-8 without BOM")
                }
                scalars.append(scalar)
                position.advance(over: scalar)
            }
        }
    }
}

extension TextPosition {
    /// Moves past one character; a line ends with a line feed.
    mutating func advance(over scalar: Unicode.Scalar) {
        if scalar == "\n" {
            line += 1
            column = 1
        } else {
            column += 1
        }
    }
}
