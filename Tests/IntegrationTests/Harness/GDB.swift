import Foundation
import Glibc

/// Real gdb, in batch mode.
enum GDB {
    static let quiet = [
        "-nx", "-q", "-iex", "set pagination off", "-iex", "set confirm off", "-iex",
        "set width 0", "-iex", "set debuginfod enabled off",
    ]

    /// Runs the commands and answers everything gdb printed.
    static func run(
        _ commands: [String], file: String? = nil, _ duration: Duration = .seconds(20)
    ) throws -> String {
        let gdb = try RunningProgram(
            "gdb",
            quiet + ["-batch"] + commands.flatMap { ["-ex", $0] } + (file.map { [$0] } ?? []))
        defer { gdb.end() }
        try gdb.waitForEnd(duration)
        _ = gdb.output.waitForEnd(.seconds(5))
        return gdb.output.text
    }
}

/// Real gdb with a prompt, so that a test can end it at the worst moment.
final class InteractiveGDB {
    let program: RunningProgram
    private var seen = 0

    /// Starts gdb on a guest's symbols and attaches it.
    ///
    /// `starter` is the words in front of its command line: a program that becomes gdb.
    init(
        symbols: String, host: String = "127.0.0.1", port: UInt16, starter: [String] = []
    ) throws {
        let words = starter + ["gdb"] + GDB.quiet + [symbols]
        program = try RunningProgram(words[0], Array(words.dropFirst()))
        try command("target remote \(host):\(port)")
    }

    /// Starts gdb on a guest's symbols and attaches it by this command.
    init(symbols: String, target: String) throws {
        program = try RunningProgram("gdb", GDB.quiet + [symbols])
        try command(target)
    }

    deinit { program.end() }

    var processID: Int32 { program.processID }

    /// Gives a command and waits for the next prompt; what gdb printed.
    @discardableResult
    func command(_ line: String, _ duration: Duration = .seconds(10)) throws -> String {
        begin(line)
        return try waitForText("@@done@@", duration)
    }

    /// Gives a command that does not come back by itself.
    func begin(_ line: String) {
        // The mark is written in two parts, so that an echo of the command is no answer.
        program.write(line)
        program.write("echo @@\\144one@@\\n")
    }

    /// Waits until gdb has printed `text` since the last such wait; what came up to it.
    @discardableResult
    func waitForText(_ text: String, _ duration: Duration = .seconds(10)) throws -> String {
        let wanted = Array(text.utf8)
        let start = seen
        let found = program.output.wait(until: .after(duration)) { bytes -> Int? in
            guard bytes.count > start else { return nil }
            return bytes[start...].firstRange(of: wanted)?.upperBound
        }
        guard let found else {
            throw HarnessError(
                "gdb did not say \"\(text)\" but:\n\(program.output.text(from: start))")
        }
        let all = program.output.text(from: start)
        seen = found
        return String(decoding: Array(all.utf8).prefix(found - start), as: UTF8.self)
    }

    /// Ctrl-C.
    func interrupt() { program.signal(SIGINT) }

    /// SIGKILL; the time of it in seconds since 1970.
    @discardableResult
    func kill() -> Double {
        let time = wallClockSeconds()
        program.signal(SIGKILL)
        return time
    }
}
