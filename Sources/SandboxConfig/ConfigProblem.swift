/// One mistake or doubt in a configuration file.
package struct ConfigProblem: Hashable, Sendable {
    package enum Severity: String, Hashable, Sendable {
        case error, warning
    }

    /// The kind of mistake; the raw values are stable and stand in `--format json`.
    package enum Code: String, Hashable, Sendable, CaseIterable {
        case notFound = "not-found"
        case unreadable
        case tooLarge = "too-large"
        case invalidText = "invalid-text"
        case syntax
        case tooDeep = "too-deep"
        case duplicateKey = "duplicate-key"
        case unknownKey = "unknown-key"
        case unsupportedKey = "unsupported-key"
        case missingKey = "missing-key"
        case wrongType = "wrong-type"
        case outOfRange = "out-of-range"
        case invalidValue = "invalid-value"
        case duplicateName = "duplicate-name"
        case remoteDebugging = "remote-debugging"
        case portConflict = "port-conflict"
    }

    package var severity: Severity
    /// As the user named it.
    package var file: String
    package var position: TextPosition
    /// `sandboxes[1].debug.port`; empty when the whole file is meant.
    package var path: String
    /// The same as a JSON Pointer (RFC 6901).
    package var pointer: String
    package var code: Code
    package var message: String
    package var hint: String?

    package var line: Int { position.line }
    package var column: Int { position.column }

    /// `FILE:LINE:COLUMN: error: PATH: TEXT`, and a second, indented line when there is a hint.
    package var text: String {
        let place = path.isEmpty ? "" : "\(path): "
        let first = "\(file):\(line):\(column): \(severity.rawValue): \(place)\(message)"
        guard let hint else { return first }
        return first + "\n    hint: " + hint
    }
}
