import ControlAPI
import FoundationEssentials

/// VS Code's `launch.json` for one sandbox.
///
/// The field names are those of the extensions: "cppdbg" of the C/C++ extension runs gdb, "lldb" is
/// CodeLLDB.
/// - Source: VS Code documentation "Configure C/C++ debugging"; CodeLLDB manual "Remote debugging".
struct LaunchFile: Encodable {
    let version = "0.2.0"
    let configurations: [Entry]

    enum Entry {
        case gdb(GDBEntry)
        case lldb(LLDBEntry)
    }

    struct GDBEntry: Encodable {
        struct Command: Encodable {
            let text: String
            let ignoreFailures = true
        }

        struct HardwareBreakpoints: Encodable {
            let require = false
            /// As many as the processor has debug registers for.
            let limit = 4
        }

        let name: String
        let type = "cppdbg"
        let request = "launch"
        let program: String
        let cwd = "${workspaceFolder}"
        let MIMode = "gdb"
        let miDebuggerPath: String
        let miDebuggerServerAddress: String
        let stopAtEntry = true
        /// A guest that waits for its debugger would run on at once otherwise.
        let stopAtConnect = true
        let hardwareBreakpoints = HardwareBreakpoints()
        let setupCommands = [
            Command(text: "-enable-pretty-printing"),
            Command(text: "-gdb-set disassembly-flavor intel"),
        ]
    }

    struct LLDBEntry: Encodable {
        let name: String
        let type = "lldb"
        let request = "launch"
        let targetCreateCommands: [String]
        let processCreateCommands: [String]
    }

    /// - Parameters:
    ///   - details: The sandbox.
    ///   - gdbPath: The gdb that the editor is to run.
    ///   - isUsableSocket: Whether a path is a socket that may be connected to.
    /// - Throws: `Failure.notDebuggable` when there is no door to the sandbox.
    init(
        _ details: SandboxDetails, gdbPath: String, isUsableSocket: (String) -> Bool
    ) throws(Failure) {
        let name = details.status.name
        // Editors may run elsewhere, where a port can be forwarded to; so TCP comes first here.
        let tcp = try? DebugTarget.tcpAddress(of: details.status)
        let target: String
        if let tcp {
            target = tcp
        } else {
            target = try DebugTarget(details.status, isUsableSocket: isUsableSocket).text
        }
        var entries = [
            Entry.gdb(
                GDBEntry(
                    name: "\(name) (gdb)", program: details.symbols, miDebuggerPath: gdbPath,
                    miDebuggerServerAddress: target))
        ]
        if let tcp {
            let symbols = DebuggerScript.escaped(details.symbols, for: .lldb)
            entries.append(
                .lldb(
                    LLDBEntry(
                        name: "\(name) (lldb)", targetCreateCommands: ["target create " + symbols],
                        processCreateCommands: ["gdb-remote " + tcp])))
        }
        configurations = entries
    }
}

extension LaunchFile.Entry: Encodable {
    func encode(to encoder: any Encoder) throws {
        switch self {
        case .gdb(let entry): try entry.encode(to: encoder)
        case .lldb(let entry): try entry.encode(to: encoder)
        }
    }
}
