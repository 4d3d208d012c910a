import FoundationEssentials

/// What reading a configuration file gave.
package struct SandboxFileReport: Sendable {
    /// How the reading ended; the raw value is the exit code of a program that goes no further.
    package enum Outcome: Int32, Sendable {
        case loaded = 0
        /// Missing or unreadable (`EX_NOINPUT`).
        case notReadable = 66
        /// Read, but wrong (`EX_CONFIG`).
        case invalid = 78
    }

    /// At most this many problems are kept; the first ones by position.
    package static let problemCountMax = 50

    package let outcome: Outcome
    /// Nil unless the outcome is `loaded`.
    package let configuration: SupervisorConfiguration?
    /// Sorted by position, at most `problemCountMax`.
    package let problems: [ConfigProblem]
    package let errorCount: Int
    package let warningCount: Int

    init(
        _ outcome: Outcome, configuration: SupervisorConfiguration? = nil, problems: ProblemList
    ) {
        self.outcome = outcome
        self.configuration = outcome == .loaded ? configuration : nil
        self.problems = problems.first
        errorCount = problems.errorCount
        warningCount = problems.warningCount
    }

    /// `report` with nothing but errors.
    private init(hardening report: SandboxFileReport) {
        outcome = .invalid
        configuration = nil
        problems = report.problems.map { problem in
            var copy = problem
            copy.severity = .error
            return copy
        }
        errorCount = report.errorCount + report.warningCount
        warningCount = 0
    }

    /// The same report under `--strict`: every warning is an error, so nothing starts.
    package func treatingWarningsAsErrors() -> SandboxFileReport {
        guard outcome == .loaded, !problems.isEmpty else { return self }
        return SandboxFileReport(hardening: self)
    }

    /// All problems and the closing count, one a line; empty when there is nothing to say.
    package var text: String {
        guard !problems.isEmpty else { return "" }
        return (problems.map(\.text) + [summary]).joined(separator: "\n") + "\n"
    }

    /// `3 errors, 1 warning; nothing was started`.
    package var summary: String {
        var parts: [String] = []
        if errorCount > 0 { parts.append(errorCount == 1 ? "1 error" : "\(errorCount) errors") }
        if warningCount > 0 {
            parts.append(warningCount == 1 ? "1 warning" : "\(warningCount) warnings")
        }
        var line = parts.joined(separator: ", ")
        let total = errorCount + warningCount
        if total > problems.count { line += " (the first \(problems.count) are shown)" }
        return outcome == .loaded ? line : line + "; nothing was started"
    }

    /// The problems as a JSON array, for `--format json`.
    package var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        // Strings and integers only: encoding them cannot fail, so nothing is lost here.
        guard let data = try? encoder.encode(problems.map(ProblemRecord.init)) else {
            return "[]\n"
        }
        return String(decoding: data, as: UTF8.self) + "\n"
    }
}

/// The stable JSON form of one problem.
private struct ProblemRecord: Encodable {
    let severity, file, path, pointer, code, message: String
    let line, column: Int
    let hint: String?

    init(_ problem: ConfigProblem) {
        severity = problem.severity.rawValue
        file = problem.file
        path = problem.path
        pointer = problem.pointer
        code = problem.code.rawValue
        message = problem.message
        line = problem.line
        column = problem.column
        hint = problem.hint
    }
}
