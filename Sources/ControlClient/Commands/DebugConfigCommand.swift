package import ArgumentParser
import ControlAPI
import Glibc

struct DebugConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug-config",
        abstract: "Prints what an editor or a debugger needs to attach to a sandbox.",
        discussion: """
            --vscode is a launch.json for VS Code with the C/C++ extension and CodeLLDB, --gdb a \
            file for gdb -x, --lldb one for lldb -s. With --write the file is made in a folder, \
            where it must not be yet: exit code 73 else, and the text is printed instead.

            EXAMPLES
              hyperlight-ctl debug-config counter --vscode --write .
              hyperlight-ctl debug-config counter --gdb > counter.gdb
            """)

    @OptionGroup var sandbox: SandboxArgument

    @Flag(help: "What to print.")
    var kind: DebuggerFile.Kind

    @Option(
        name: .customLong("write"),
        help: ArgumentHelp(
            "Make .vscode/launch.json, NAME.gdb or NAME.lldb in this folder.", valueName: "folder"))
    var folder: String?

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let details = try await options.connection().debuggableDetails(
                of: try sandbox.checkedName())
            let file = try DebuggerFile(
                kind, details, gdbPath: ProgramSearch.path(of: "gdb") ?? "/usr/bin/gdb",
                isUsableSocket: SocketFile.isUsable)
            guard let folder else { return Output.write(file.text) }
            do throws(Failure) {
                let path = try NewFile.write(file.text, to: file.path, below: folder)
                Output.write("\(TextTable.printable(path))\n")
            } catch {
                if case .fileExists = error { Output.write(file.text) }
                throw error
            }
        }
    }
}

extension DebuggerFile.Kind: EnumerableFlag {
    package static func help(for value: Self) -> ArgumentHelp? {
        switch value {
        case .vscode: "A launch.json for VS Code."
        case .gdb: "Commands for gdb -x."
        case .lldb: "Commands for lldb -s."
        }
    }
}

/// Looking for programs as a shell does.
enum ProgramSearch {
    /// The first executable file of this name in the folders of `PATH`.
    static func path(of name: String) -> String? {
        let folders = getenv("PATH").map { String(cString: $0) } ?? ""
        return folders.split(separator: ":").map { "\($0)/\(name)" }
            .first { access($0, X_OK) == 0 }
    }
}
