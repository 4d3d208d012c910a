/// Collects the problems of one file while it is read.
struct ProblemList {
    let file: String
    private(set) var problems: [ConfigProblem] = []

    init(file: String) { self.file = file }

    var hasErrors: Bool { problems.contains { $0.severity == .error } }

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
        problems.append(
            ConfigProblem(
                severity: severity, file: file, position: position, path: path.text,
                pointer: path.pointer, code: code, message: message, hint: hint))
    }
}
