package import ControlAPI
import GuestModel

/// The gdb command line of one sandbox.
package struct DebuggerCommand: Hashable, Sendable {
    /// The program's name and its arguments.
    package let words: [String]

    /// Builds the command that attaches with symbols loaded.
    ///
    /// - Parameters:
    ///   - details: The sandbox.
    ///   - scripts: Files for `gdb -x`, run once attached.
    ///   - arguments: Handed to gdb at the end, as they are.
    ///   - isUsableSocket: Whether a path is a socket that may be connected to.
    /// - Throws: `Failure.notDebuggable` when there is no door to the sandbox.
    package init(
        _ details: SandboxDetails, scripts: [String] = [], arguments: [String] = [],
        isUsableSocket: (String) -> Bool
    ) throws(Failure) {
        let target = try Self.target(details.status, isUsableSocket)
        let commands = [
            "set architecture i386:x86-64", "set disassembly-flavor intel",
            "file " + Self.escaped(details.symbols), "target remote " + target,
        ]
        // A line feed would start a second gdb command.
        guard !commands.contains(where: { $0.contains { $0.isNewline } }) else {
            throw .notDebuggable(details.status.name, "a path contains a line break")
        }
        words =
            ["gdb", "-q", "-iex", "set auto-load no"] + commands.flatMap { ["-ex", $0] }
            + scripts.flatMap { ["-x", $0] } + arguments
    }

    /// The Unix socket when it can be used (its file mode decides who may), else TCP.
    private static func target(
        _ status: SandboxStatus, _ isUsableSocket: (String) -> Bool
    ) throws(Failure) -> String {
        let debug = status.debug
        guard debug.state != .off else {
            throw .notDebuggable(status.name, "debugging is off for this sandbox")
        }
        if let socket = debug.unixSocket, isUsableSocket(socket) { return socket }
        if let address = debug.address, debug.state != .unavailable { return address }
        if let socket = debug.unixSocket {
            throw .notDebuggable(status.name, "no permission to use \(socket)")
        }
        throw .notDebuggable(status.name, debug.detail ?? "no debug address")
    }

    /// gdb splits the argument of `file` at spaces and takes quotes and backslashes away.
    private static func escaped(_ path: String) -> String {
        var text = ""
        for character in path {
            if " \t\"'\\".contains(character) { text.append("\\") }
            text.append(character)
        }
        return text
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
