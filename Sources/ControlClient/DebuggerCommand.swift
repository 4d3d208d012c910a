package import ControlAPI
import GuestModel

/// The debuggers that ctl can start.
package enum Debugger: Hashable, Sendable {
    case gdb, lldb
}

/// The command line of a debugger for one sandbox.
package struct DebuggerCommand: Hashable, Sendable {
    /// The program's name and its arguments.
    package let words: [String]

    /// Builds the command that attaches with symbols loaded.
    ///
    /// - Parameters:
    ///   - details: The sandbox.
    ///   - debugger: lldb cannot use the Unix socket, so it needs the TCP address.
    ///   - scripts: Files of the debugger's commands, run once attached.
    ///   - arguments: Handed to the debugger at the end, as they are.
    ///   - isUsableSocket: Whether a path is a socket that may be connected to.
    /// - Throws: `Failure.notDebuggable` when there is no door to the sandbox.
    package init(
        _ details: SandboxDetails, debugger: Debugger = .gdb, scripts: [String] = [],
        arguments: [String] = [], isUsableSocket: (String) -> Bool
    ) throws(Failure) {
        let script = try DebuggerScript(
            details, debugger: debugger, isUsableSocket: isUsableSocket)
        switch debugger {
        case .gdb:
            words =
                ["gdb", "-q", "-iex", "set auto-load no"]
                + script.commands.flatMap { ["-ex", $0] } + scripts.flatMap { ["-x", $0] }
                + arguments
        case .lldb:
            words =
                ["lldb"] + script.commands.flatMap { ["-o", $0] } + scripts.flatMap { ["-s", $0] }
                + arguments
        }
    }

    /// The command as one can paste it into a POSIX shell.
    package var shellText: String {
        words.map(Self.shellQuoted).joined(separator: " ")
    }

    private static func shellQuoted(_ word: String) -> String {
        guard TextTable.printable(word) == word else { return spelledOut(word) }
        if word.utf8.allSatisfy(isPlain) && !word.isEmpty { return word }
        return "'"
            + word.split(separator: "'", omittingEmptySubsequences: false)
            .joined(separator: "'\\''") + "'"
    }

    /// A word that a terminal must not see as it is: the shell puts it together.
    private static func spelledOut(_ word: String) -> String {
        let text = word.utf8.map { byte in
            // A percent sign is plain to a shell and not to `printf`.
            guard !isPlain(byte) || byte == UInt8(ascii: "%") else {
                return String(UnicodeScalar(byte))
            }
            let digits = String(byte, radix: 8)
            return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
        }
        return "\"$(printf -- '" + text.joined() + "')\""
    }

    /// Whether a shell takes the byte as it is.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-_./:=,+@%".utf8.contains(byte)
        }
    }
}
