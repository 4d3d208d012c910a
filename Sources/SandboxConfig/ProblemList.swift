/// Collects the problems of one file while it is read: all are counted, few are kept.
struct ProblemList {
    let file: String
    private(set) var errorCount = 0
    private(set) var warningCount = 0
    /// In the order of being found; among them are the first ones by position.
    private var kept: [ConfigProblem] = []

    /// A file of a few megabytes can hold a million mistakes.
    private static let keptMax = 1000

    init(file: String) { self.file = file }

    var hasErrors: Bool { errorCount > 0 }

    /// The first ones by position, at most `SandboxFileReport.problemCountMax`.
    var first: [ConfigProblem] {
        // Stable order: what was found first comes first at one position.
        let sorted = kept.enumerated()
            .sorted { ($0.element.position, $0.offset) < ($1.element.position, $1.offset) }
            .map(\.element)
        return Array(sorted.prefix(SandboxFileReport.problemCountMax))
    }

    mutating func error(
        _ code: ConfigProblem.Code, at position: TextPosition, _ path: ConfigPath,
        _ message: String, hint: String? = nil
    ) {
        add(.error, code, position, path, message, hint)
    }

    mutating func warning(
        _ code: ConfigProblem.Code, at position: TextPosition, _ path: ConfigPath,
        _ message: String, hint: String? = nil
    ) {
        add(.warning, code, position, path, message, hint)
    }

    private mutating func add(
        _ severity: ConfigProblem.Severity, _ code: ConfigProblem.Code, _ position: TextPosition,
        _ path: ConfigPath, _ message: String, _ hint: String?
    ) {
        switch severity {
        case .error: errorCount += 1
        case .warning: warningCount += 1
        }
        if kept.count == Self.keptMax { kept = first }
        kept.append(
            ConfigProblem(
                severity: severity, file: file, position: position, path: path.text,
                pointer: path.pointer, code: code, message: message, hint: hint))
    }
}
