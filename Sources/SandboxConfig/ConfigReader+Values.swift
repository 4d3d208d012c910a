/// A value of the file with its place, for checks that come later.
struct Located<Value: Sendable>: Sendable {
    let value: Value
    let position: TextPosition
    let path: ConfigPath

    func map<Other>(_ change: (Value) -> Other) -> Located<Other> {
        Located<Other>(value: change(value), position: position, path: path)
    }
}

/// An object whose keys were checked.
struct ObjectView {
    let members: [String: ConfigTree]
    let position: TextPosition
    let path: ConfigPath
}

// The readers of single values: nil when absent or, after noting it, wrong.
extension ConfigReader {
    static let pathByteCountMax = 4095

    mutating func object(_ parent: ObjectView, _ key: String, _ keys: KeyTable) -> ObjectView? {
        guard let tree = parent.members[key] else { return nil }
        return object(tree, at: parent.path.appending(key: key), keys)
    }

    mutating func object(_ tree: ConfigTree, at path: ConfigPath, _ keys: KeyTable) -> ObjectView? {
        guard case .object(let members) = tree.content else {
            wrongType(tree, at: path, expected: "an object")
            return nil
        }
        var known: [String: ConfigTree] = [:]
        for member in members {
            if keys.contains(member.key) {
                known[member.key] = member.value
            } else {
                unknownKey(member, in: path, keys)
            }
        }
        return ObjectView(members: known, position: tree.position, path: path)
    }

    mutating func string(_ view: ObjectView, _ key: String) -> Located<String>? {
        guard let tree = view.members[key] else { return nil }
        let path = view.path.appending(key: key)
        guard case .string(let text) = tree.content else {
            wrongType(tree, at: path, expected: "a string")
            return nil
        }
        return Located(value: text, position: tree.position, path: path)
    }

    mutating func bool(_ view: ObjectView, _ key: String) -> Bool? {
        guard let tree = view.members[key] else { return nil }
        guard case .bool(let value) = tree.content else {
            wrongType(tree, at: view.path.appending(key: key), expected: "true or false")
            return nil
        }
        return value
    }

    /// A whole number; `noun` names what it should have been: "99999 is not a port".
    mutating func integer(
        _ view: ObjectView, _ key: String, allowed: ClosedRange<UInt64>,
        called noun: String = "in range"
    ) -> Located<UInt64>? {
        guard let tree = view.members[key] else { return nil }
        let path = view.path.appending(key: key)
        guard case .number(let text) = tree.content else {
            wrongType(tree, at: path, expected: "a number")
            return nil
        }
        guard let value = UInt64(text), allowed.contains(value) else {
            let isWhole = text.allSatisfy { $0.isNumber || $0 == "-" }
            let message =
                isWhole
                ? "\(text.printable) is not \(noun) "
                    + "(allowed \(allowed.lowerBound)-\(allowed.upperBound))"
                : "\(text.printable) is not a whole number"
            problems.error(.outOfRange, at: tree.position, path, message)
            return nil
        }
        return Located(value: value, position: tree.position, path: path)
    }

    /// One of an enum's raw values.
    mutating func choice<Value>(
        _ view: ObjectView, _ key: String, later: [String] = []
    ) -> Located<Value>?
    where Value: RawRepresentable<String> & CaseIterable & Sendable {
        guard let text = string(view, key) else { return nil }
        if let value = Value(rawValue: text.value) { return text.map { _ in value } }
        if later.contains(text.value) {
            problems.error(
                .invalidValue, at: text.position, text.path,
                "\"\(text.value)\" is not supported by this version")
        } else {
            notAllowed(text.value, text, allowed: Value.allCases.map(\.rawValue))
        }
        return nil
    }

    /// Bytes: an integer, or an integer with KiB, MiB or GiB.
    mutating func size(
        _ view: ObjectView, _ key: String, allowed: ClosedRange<UInt64>
    ) -> UInt64? {
        guard let tree = view.members[key] else { return nil }
        let path = view.path.appending(key: key)
        let value: UInt64
        switch tree.content {
        case .number:
            return integer(view, key, allowed: allowed, called: "an allowed size")?.value
        case .string(let text):
            guard let parsed = UnitText.byteCount(text) else {
                problems.error(
                    .invalidValue, at: tree.position, path,
                    "\"\(text.printable)\" is not a size",
                    hint: "use KiB, MiB, GiB or bytes: \"512KiB\" or 524288")
                return nil
            }
            value = parsed
        case .object, .array, .bool, .null:
            wrongType(tree, at: path, expected: "a size")
            return nil
        }
        guard allowed.contains(value) else {
            problems.error(
                .outOfRange, at: tree.position, path,
                "\(value) bytes is not an allowed size "
                    + "(allowed \(allowed.lowerBound)-\(allowed.upperBound))")
            return nil
        }
        return value
    }

    /// A time span such as `250ms`, `5s`, `2m`, `1h`.
    mutating func duration(_ view: ObjectView, _ key: String) -> Duration? {
        guard let tree = view.members[key] else { return nil }
        let path = view.path.appending(key: key)
        guard case .string(let text) = tree.content else {
            wrongType(tree, at: path, expected: "a time span such as \"5s\"")
            return nil
        }
        guard let duration = UnitText.duration(text) else {
            problems.error(
                .invalidValue, at: tree.position, path,
                "\"\(text.printable)\" is not a time span",
                hint: "use ms, s, m or h: \"250ms\", \"5s\"")
            return nil
        }
        return duration
    }

    /// A path, made absolute.
    mutating func path(_ view: ObjectView, _ key: String) -> Located<String>? {
        guard let text = string(view, key) else { return nil }
        guard !text.value.isEmpty else {
            problems.error(.invalidValue, at: text.position, text.path, "the path is empty")
            return nil
        }
        let absolute = FilePath.absolute(text.value, in: folder)
        guard absolute.utf8.count <= Self.pathByteCountMax else {
            problems.error(
                .outOfRange, at: text.position, text.path,
                "the path is longer than \(Self.pathByteCountMax) bytes")
            return nil
        }
        return text.map { _ in absolute }
    }
}

// MARK: - Noting mistakes

extension ConfigReader {
    mutating func missing(_ key: String, in view: ObjectView) {
        problems.error(
            .missingKey, at: view.position, view.path, "the key \"\(key)\" is missing")
    }

    mutating func wrongType(_ tree: ConfigTree, at path: ConfigPath, expected: String) {
        problems.error(
            .wrongType, at: tree.position, path, "expected \(expected), found \(tree.kindText)")
    }

    mutating func notAllowed(_ text: String, _ place: Located<String>, allowed: [String]) {
        let nearest = NearMiss.nearest(to: text, in: allowed)
        problems.error(
            .invalidValue, at: place.position, place.path,
            "\"\(text.printable)\" is not one of: \(allowed.joined(separator: ", "))",
            hint: nearest.map { "did you mean \"\($0)\"?" })
    }

    private mutating func unknownKey(
        _ member: ConfigTree.Member, in path: ConfigPath, _ keys: KeyTable
    ) {
        let memberPath = path.appending(key: member.key)
        if keys.later.contains(member.key) {
            problems.error(
                .unsupportedKey, at: member.position, memberPath, "unknown key",
                hint: "not supported by this version")
        } else {
            problems.error(
                .unknownKey, at: member.position, memberPath, "unknown key",
                hint: keys.nearest(to: member.key).map { "did you mean \"\($0)\"?" })
        }
    }
}
