package import ControlAPI

/// The commands with which a debugger loads a guest's symbols and attaches to it.
package struct DebuggerScript: Hashable, Sendable {
    /// One command a line, in this order.
    package let commands: [String]

    /// - Throws: `Failure.notDebuggable` when there is no door that this debugger can use.
    package init(
        _ details: SandboxDetails, debugger: Debugger, isUsableSocket: (String) -> Bool
    ) throws(Failure) {
        // A line feed would start a second command.
        func checked(_ text: String) throws(Failure) -> String {
            guard !text.contains(where: \.isNewline) else {
                throw .notDebuggable(details.status.name, "a path contains a line break")
            }
            return text
        }
        let symbols = Self.escaped(try checked(details.symbols), for: debugger)
        switch debugger {
        case .gdb:
            let target = try DebugTarget(details.status, isUsableSocket: isUsableSocket)
            commands = [
                "set architecture i386:x86-64", "set disassembly-flavor intel",
                "file " + symbols, "target remote " + (try checked(target.text)),
            ]
        case .lldb:
            commands = [
                "settings set target.x86-disassembly-flavor intel", "target create " + symbols,
                "gdb-remote " + (try DebugTarget.tcpAddress(of: details.status)),
            ]
        }
    }

    /// Both split what follows a command at spaces and take quotes and backslashes away; lldb also
    /// evaluates what stands between backquotes.
    static func escaped(_ path: String, for debugger: Debugger) -> String {
        let special = debugger == .lldb ? " \t\"'\\`" : " \t\"'\\"
        var text = ""
        for character in path {
            if special.contains(character) { text.append("\\") }
            text.append(character)
        }
        return text
    }
}
