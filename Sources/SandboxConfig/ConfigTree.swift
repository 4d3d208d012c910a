import Yams

/// A value of the file and where it stands.
struct ConfigTree {
    struct Member {
        let key: String
        let position: TextPosition
        let value: ConfigTree
    }

    enum Content {
        case object([Member])
        case array([ConfigTree])
        case string(String)
        /// As written.
        case number(String)
        case bool(Bool)
        case null
    }

    let content: Content
    let position: TextPosition

    /// What the value is, for messages.
    var kindText: String {
        switch content {
        case .object: "an object"
        case .array: "an array"
        case .string: "a string"
        case .number: "a number"
        case .bool: "true or false"
        case .null: "null"
        }
    }
}

extension ConfigTree {
    /// The tree of a text that `JSONChecker` has accepted.
    static func compose(_ text: String) throws(JSONSyntaxError) -> ConfigTree {
        do {
            guard let root = try Parser(yaml: text, encoding: .utf8).singleRoot() else {
                throw JSONSyntaxError(.syntax, .start, "the file is empty")
            }
            return try ConfigTree(root)
        } catch let error as JSONSyntaxError {
            throw error
        } catch let error as YamlError {
            throw JSONSyntaxError(.syntax, error.position, "cannot be read: \(error.problemText)")
        } catch {
            throw JSONSyntaxError(.syntax, .start, "cannot be read: \(error)")
        }
    }

    private init(_ node: Node) throws(JSONSyntaxError) {
        position = node.mark.map { TextPosition(line: $0.line, column: $0.column) } ?? .start
        switch node {
        case .scalar(let scalar):
            content = Self.content(of: scalar)
        case .sequence(let sequence):
            var elements: [ConfigTree] = []
            for element in sequence { elements.append(try ConfigTree(element)) }
            content = .array(elements)
        case .mapping(let mapping):
            var members: [Member] = []
            for (key, value) in mapping {
                guard case .scalar(let name) = key, name.style == .doubleQuoted else {
                    throw JSONSyntaxError(.syntax, position, "a key is not a string")
                }
                let keyPosition = key.mark.map { TextPosition(line: $0.line, column: $0.column) }
                members.append(
                    Member(
                        key: name.string, position: keyPosition ?? position,
                        value: try ConfigTree(value)))
            }
            content = .object(members)
        case .alias:
            throw JSONSyntaxError(.syntax, position, "aliases are not JSON")
        }
    }

    /// Quotes tell a string from a word: YAML's own guesses about types are not used.
    private static func content(of scalar: Node.Scalar) -> Content {
        guard scalar.style == .plain else { return .string(scalar.string) }
        switch scalar.string {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "null": return .null
        default: return .number(scalar.string)
        }
    }
}

extension YamlError {
    fileprivate var position: TextPosition {
        switch self {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _):
            TextPosition(line: mark.line, column: mark.column)
        default: .start
        }
    }

    fileprivate var problemText: String {
        switch self {
        case .scanner(_, let problem, _, _), .parser(_, let problem, _, _),
            .composer(_, let problem, _, _):
            problem
        default: "\(self)"
        }
    }
}
