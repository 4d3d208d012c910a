/// The way from the root of a configuration file to one of its values.
struct ConfigPath: Hashable, Sendable {
    enum Step: Hashable, Sendable {
        case key(String)
        case index(Int)
    }

    private(set) var steps: [Step] = []

    func appending(key: String) -> ConfigPath { appending(.key(key)) }
    func appending(index: Int) -> ConfigPath { appending(.index(index)) }

    func appending(_ step: Step) -> ConfigPath {
        var copy = self
        copy.steps.append(step)
        return copy
    }

    /// As messages show it: `sandboxes[1].debug.port`; empty at the root.
    var text: String {
        var text = ""
        for step in steps {
            switch step {
            case .key(let key): text += text.isEmpty ? key.printable : "." + key.printable
            case .index(let index): text += "[\(index)]"
            }
        }
        return text
    }

    /// The JSON Pointer: `/sandboxes/1/debug/port`.
    ///
    /// - Source: RFC 6901 "Syntax".
    var pointer: String {
        var text = ""
        for step in steps {
            switch step {
            case .key(let key): text += "/" + Self.escaped(key)
            case .index(let index): text += "/\(index)"
            }
        }
        return text
    }

    private static func escaped(_ key: String) -> String {
        var text = ""
        for character in key {
            switch character {
            case "~": text += "~0"
            case "/": text += "~1"
            default: text.append(character)
            }
        }
        return text
    }
}

extension String {
    /// The text as a message may show it: no control characters, at most 64 characters.
    var printable: String {
        var shown = ""
        for scalar in unicodeScalars.prefix(64) {
            let isControl = scalar.properties.generalCategory == .control
            let isSeparator = scalar.value == 0x2028 || scalar.value == 0x2029
            shown +=
                isControl || isSeparator
                ? "\\u{" + String(scalar.value, radix: 16) + "}" : String(scalar)
        }
        return unicodeScalars.count > 64 ? shown + "..." : shown
    }
}
