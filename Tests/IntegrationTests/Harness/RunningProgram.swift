import Foundation
import Glibc
import Testing

/// A child process with its output collected line by line or as one text.
final class RunningProgram {
    let processID: Int32
    let output: OutputText
    private let input: Int32
    private var ending: Ending?
    private var isEnded = false

    enum Ending: Equatable {
        case exit(Int32)
        case signal(Int32)
    }

    /// Starts `path`; output and errors go into one text.
    init(
        _ path: String, _ arguments: [String], environment: [String: String] = [:]
    ) throws {
        let inputPipe = try Self.makePipe()
        let outputPipe = try Self.makePipe()
        defer {
            close(inputPipe[0])
            close(outputPipe[1])
        }
        let pairs = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let variables = pairs.filter {
            !$0.key.hasPrefix("HYPERLIGHT_") || environment[$0.key] != nil
        }
        processID = try Self.spawn(
            [path] + arguments, variables.map { "\($0)=\($1)" },
            input: inputPipe[0], output: outputPipe[1])
        input = inputPipe[1]
        output = OutputText(reading: outputPipe[0])
    }

    deinit { close(input) }

    private static func makePipe() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else {
            throw HarnessError("pipe: \(String(cString: strerror(errno)))")
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }

    private static func spawn(
        _ words: [String], _ variables: [String], input: Int32, output: Int32
    ) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        // A process group of its own: Ctrl-C at the tests' terminal is not for it. No signal is
        // blocked or ignored, whatever thread this is.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        var arguments = words.map { strdup($0) } + [nil]
        var environment = variables.map { strdup($0) } + [nil]
        defer { (arguments + environment).forEach { free($0) } }
        var processID: pid_t = 0
        let code = posix_spawnp(
            &processID, words[0], &actions, &attributes, &arguments, &environment)
        guard code == 0 else {
            throw HarnessError("\(words[0]): \(String(cString: strerror(code)))")
        }
        return processID
    }

    /// Writes a line to its standard input; one that reads no more does not matter.
    func write(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = Glibc.write(input, bytes, bytes.count)
    }

    func signal(_ number: Int32) {
        guard ending == nil else { return }
        kill(processID, number)
    }

    /// How it ended, or nil while it lives.
    func reap() -> Ending? {
        if let ending { return ending }
        var status: Int32 = 0
        guard waitpid(processID, &status, WNOHANG) == processID else { return nil }
        let number = status & 0x7F
        ending = number == 0 ? .exit((status >> 8) & 0xFF) : .signal(number)
        return ending
    }

    /// Waits for the end, and for the last of its output.
    @discardableResult
    func waitForEnd(_ duration: Duration) throws -> Ending {
        var end: Ending?
        try Deadline.wait(
            duration, for: "the end of process \(processID); it said:\n\(output.text)"
        ) {
            end = reap()
            return end != nil
        }
        guard let end else { throw HarnessError("process \(processID) has no end") }
        return end
    }

    /// Ends it at once if it still lives.
    func end() {
        signal(SIGKILL)
        _ = try? waitForEnd(.seconds(5))
        expectNoSanitizerReport()
        isEnded = true
    }

    /// What a sanitizer found in it, or in a child whose errors it logs; the end by SIGKILL hides its
    /// exit code.
    private func expectNoSanitizerReport() {
        guard Machine.isSanitized, !isEnded else { return }
        let text = output.text
        guard let start = text.firstRange(of: #/(Address|Thread)Sanitizer:/#)?.lowerBound else {
            return
        }
        Issue.record("\(text[start...].prefix(4000))")
    }
}

/// What a program has written so far; a thread of its own reads it, so that no pipe ever fills.
final class OutputText: @unchecked Sendable {
    private let changed = NSCondition()
    private var bytes: [UInt8] = []
    private var isAtEnd = false

    init(reading descriptor: Int32) {
        Thread.detachNewThread { [self] in read(descriptor) }
    }

    private func read(_ descriptor: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            changed.lock()
            if count > 0 { bytes += buffer[..<count] } else { isAtEnd = true }
            changed.broadcast()
            changed.unlock()
            guard count > 0 else { break }
        }
        close(descriptor)
    }

    var text: String { text(from: 0) }
    var count: Int { changed.withLock { bytes.count } }

    func text(from start: Int) -> String {
        changed.withLock { String(decoding: bytes[min(start, bytes.count)...], as: UTF8.self) }
    }

    /// Waits until `found` makes something of the bytes so far; nil at the deadline or the end.
    @discardableResult
    func wait<Value>(until deadline: Deadline, for found: ([UInt8]) -> Value?) -> Value? {
        changed.lock()
        defer { changed.unlock() }
        while true {
            if let value = found(bytes) { return value }
            guard !isAtEnd, changed.wait(until: deadline.date) else { return found(bytes) }
        }
    }

    /// Waits until everything was read, which is when the program and all heirs of its output ended.
    func waitForEnd(_ duration: Duration) -> Bool {
        let deadline = Deadline.after(duration)
        changed.lock()
        defer { changed.unlock() }
        while !isAtEnd {
            guard changed.wait(until: deadline.date) else { return isAtEnd }
        }
        return true
    }
}
