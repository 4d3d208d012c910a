package import ControlAPI
import FoundationEssentials

/// A file that tells an editor or a debugger how to attach to one sandbox.
package struct DebuggerFile: Hashable, Sendable {
    package enum Kind: Hashable, Sendable, CaseIterable {
        /// `launch.json` of VS Code.
        case vscode
        /// Commands for `gdb -x`.
        case gdb
        /// Commands for `lldb -s`.
        case lldb
    }

    /// Its place below the folder of a project.
    package let path: String
    package let text: String

    /// - Parameters:
    ///   - kind: What it is for.
    ///   - details: The sandbox.
    ///   - gdbPath: The gdb that an editor is to run.
    ///   - isUsableSocket: Whether a path is a socket that may be connected to.
    /// - Throws: `Failure.notDebuggable` when there is no door that the debugger can use.
    package init(
        _ kind: Kind, _ details: SandboxDetails, gdbPath: String,
        isUsableSocket: (String) -> Bool
    ) throws(Failure) {
        let name = details.status.name
        // Such a file is read, printed and pasted.
        guard TextTable.printable(details.symbols) == details.symbols else {
            throw .notDebuggable(name, "its path has characters that no text file should have")
        }
        switch kind {
        case .vscode:
            path = ".vscode/launch.json"
            text = Self.json(
                try LaunchFile(details, gdbPath: gdbPath, isUsableSocket: isUsableSocket))
        case .gdb:
            path = "\(name).gdb"
            text =
                "# Attaches gdb to the sandbox \(name): gdb -x \(name).gdb\n"
                + Self.lines(
                    try DebuggerScript(details, debugger: .gdb, isUsableSocket: isUsableSocket))
        case .lldb:
            path = "\(name).lldb"
            text =
                "# Attaches lldb to the sandbox \(name): lldb -s \(name).lldb\n"
                + Self.lines(
                    try DebuggerScript(details, debugger: .lldb, isUsableSocket: isUsableSocket))
        }
    }

    private static func lines(_ script: DebuggerScript) -> String {
        script.commands.map { $0 + "\n" }.joined()
    }

    private static func json(_ file: LaunchFile) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        // Texts, numbers and booleans: encoding them cannot fail.
        let data = (try? encoder.encode(file)) ?? Data()
        return String(decoding: data, as: UTF8.self) + "\n"
    }
}
