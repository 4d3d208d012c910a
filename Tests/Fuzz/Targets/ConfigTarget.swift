import SandboxConfig

/// A file is loaded or has an error with a place in it, and says the same each time.
func configMistakes(_ input: [UInt8]) -> [String] {
    let report = load(input)
    var mistakes: [String] = []
    let isLoaded = report.outcome == .loaded
    if isLoaded != (report.configuration != nil) { mistakes.append("loaded without settings") }
    if isLoaded != (report.errorCount == 0) { mistakes.append("refused without an error") }
    if report.problems.count > SandboxFileReport.problemCountMax {
        mistakes.append("too many problems are told")
    }
    let lineCount = 1 + input.count { $0 == 0x0A || $0 == 0x0D }
    if report.problems.contains(where: { $0.line < 1 || $0.line > lineCount || $0.column < 1 }) {
        mistakes.append("a problem lies outside of the file")
    }
    // A text names what it is about, each part of it cut to a bound of its own.
    if report.text.utf8.count > 2000 * (1 + report.problems.count) {
        mistakes.append("a report of \(report.text.utf8.count) bytes")
    }
    if !report.json.hasPrefix("[") { mistakes.append("the report is no JSON array") }
    if let sandboxes = report.configuration?.sandboxes {
        if Set(sandboxes.map(\.name)).count != sandboxes.count { mistakes.append("a name twice") }
        if sandboxes.contains(where: { !$0.guestPath.hasPrefix("/") }) {
            mistakes.append("a path is not absolute")
        }
    }
    if report.text != load(input).text { mistakes.append("the second reading says otherwise") }
    return mistakes
}

private func load(_ bytes: [UInt8]) -> SandboxFileReport {
    SandboxFile.load(bytes: bytes, name: "f.json", folder: "/etc/hyperlight")
}
