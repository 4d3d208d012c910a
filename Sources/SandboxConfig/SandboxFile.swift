// SandboxConfig: `sandboxes.json` in, typed settings or a list of problems out.
//
// The way of a file: `FileBytes` (size limit before reading) -> `TextDecoder` (UTF-8) ->
// `JSONChecker` (strict JSON, duplicate keys) -> `ConfigTree` (Yams' nodes, each with its
// position) -> `ConfigReader` (keys, types, ranges, defaults) -> `SandboxFileReport`.
// All mistakes are reported at once; only a syntax error ends the reading early.
// This target opens no guest and binds no port: whether they exist is the supervisor's question.
// Start reading here, then `ConfigReader.swift`; the accepted keys are in `ConfigKeys.swift`.

/// The configuration file of the supervisor.
package enum SandboxFile {
    /// Largest accepted file in bytes; a larger one is refused before it is read.
    package static let byteCountMax = 4 << 20

    /// Reads and checks the file at `path`.
    ///
    /// Never throws and never ends the program: whatever is wrong stands in the report. Relative
    /// paths inside the file are taken from the folder the file really lies in (links resolved).
    package static func load(path: String) -> SandboxFileReport {
        switch FileBytes.read(path: path, byteCountMax: byteCountMax) {
        case .success(let file):
            return load(bytes: file.bytes, name: path, folder: file.folder)
        case .failure(let failure):
            var problems = ProblemList(file: path)
            problems.error(failure.code, at: .start, ConfigPath(), failure.message)
            return SandboxFileReport(
                failure.isContentProblem ? .invalid : .notReadable, problems: problems)
        }
    }

    /// Checks a file's content that is already in memory.
    ///
    /// - Parameters:
    ///   - bytes: The content.
    ///   - name: How messages call the file.
    ///   - folder: Absolute path that relative paths are taken from.
    /// - Returns: The settings or what is wrong.
    package static func load(bytes: [UInt8], name: String, folder: String) -> SandboxFileReport {
        var problems = ProblemList(file: name)
        guard let tree = tree(of: bytes, &problems) else {
            return SandboxFileReport(.invalid, problems: problems)
        }
        var reader = ConfigReader(folder: folder, problems: problems)
        let configuration = reader.readConfiguration(tree)
        let outcome = reader.problems.hasErrors ? SandboxFileReport.Outcome.invalid : .loaded
        return SandboxFileReport(
            outcome, configuration: configuration, problems: reader.problems)
    }

    /// The tree of a strict JSON text, or nil after a syntax error.
    private static func tree(of bytes: [UInt8], _ problems: inout ProblemList) -> ConfigTree? {
        do throws(JSONSyntaxError) {
            guard bytes.count <= byteCountMax else {
                throw JSONSyntaxError(.tooLarge, .start, FileFailure.tooLargeText(byteCountMax))
            }
            var checker = JSONChecker(try TextDecoder.scalars(of: bytes))
            let duplicates = try checker.check()
            for entry in duplicates {
                problems.error(
                    .duplicateKey, at: entry.position, entry.path, "duplicate key",
                    hint: "the first one is in line \(entry.firstPosition.line)")
            }
            return try ConfigTree.compose(checker.text(without: duplicates))
        } catch {
            problems.error(
                error.code, at: error.position, error.path, error.message, hint: error.hint)
            return nil
        }
    }
}
