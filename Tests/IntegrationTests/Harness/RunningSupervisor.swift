import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

/// One sandbox of a test's configuration.
struct SandboxEntry: Encodable {
    var name: String
    var guest: String
    var symbols: String?
    var enabled: Bool?
    var abi = "bare"
    var hypervisor: String
    var mode = "serve"
    var debug: Debug
    var memory: [String: String]?
    var isolation: Isolation?
    var limits: Limits?
    var restart: Restart?

    struct Isolation: Encodable {
        var profile: String?
        var require: [String]?
        var diagnose: Bool?
    }

    struct Restart: Encodable {
        static let never = Restart(policy: "never")

        var policy: String?
        var initialDelay: String?
        var maxDelay: String?
        var burst: Int?
        var window: String?
    }

    struct Limits: Encodable {
        var memory: String?
        var cpuPercent: Int?
    }

    struct Debug: Encodable {
        var enabled: Bool?
        var port: UInt16?
        var address: String?
        var allowRemote: Bool?
        var startup: String?
        var waitTimeout: String?
        var onDisconnect: String?
        var onKill: String?
        var onCrash: String?
        var access: String?
    }

    init(
        _ name: String, _ guest: String, on driver: Driver = .emulator, port: UInt16? = nil,
        startup: String? = nil
    ) {
        self.name = name
        self.guest = guest.hasPrefix("/") ? guest : Machine.guest(guest)
        hypervisor = driver.rawValue
        debug = Debug(
            enabled: port == nil && startup == nil ? false : nil, port: port, startup: startup)
    }
}

/// One record of the supervisor's log.
struct LogLine: Decodable {
    let ts: String
    let level: String
    let event: String
    let msg: String
    let sandbox: String
    /// Seconds since 1970, to the microsecond.
    let time: Double

    private enum CodingKeys: CodingKey {
        case ts, level, event, msg, sandbox
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        ts = try values.decode(String.self, forKey: .ts)
        level = try values.decode(String.self, forKey: .level)
        event = try values.decode(String.self, forKey: .event)
        msg = try values.decode(String.self, forKey: .msg)
        sandbox = try values.decode(String.self, forKey: .sandbox)
        time = Self.seconds(ts)
    }

    private static func seconds(_ text: String) -> Double {
        let whole = Double(Timestamp.secondsSinceEpoch(text) ?? 0)
        guard let dot = text.firstIndex(of: ".") else { return whole }
        return whole + (Double("0" + text[dot...].dropLast()) ?? 0)
    }

    func isAbout(_ sandbox: String, _ event: String, containing text: String) -> Bool {
        guard self.sandbox == sandbox, self.event == event else { return false }
        return text.isEmpty || msg.contains(text)
    }
}

/// A real supervisor with a folder, a control socket and a configuration of its own.
final class RunningSupervisor {
    let program: RunningProgram
    let folder: String
    private let ownsFolder: Bool
    var socket: String { folder + "/c.sock" }
    private var records: [LogLine] = []
    private var parsed = 0

    /// Starts it; waits for nothing.
    ///
    /// `programs` is the folder of the supervisor and its children, `starter` the words in front
    /// of its command line: a program that becomes the supervisor. `folder` is that of another
    /// supervisor, or nil for a new one. `hasStandIn` is false for a machine as it is.
    init(
        _ sandboxes: [SandboxEntry], programs: String = Machine.programFolder,
        starter: [String] = [], folder: String? = nil, hasStandIn: Bool = true
    ) throws {
        ownsFolder = folder == nil
        let folder = try folder ?? Self.makeFolder()
        self.folder = folder
        let path = folder + "/s.json"
        try Self.configuration(sandboxes).write(to: URL(fileURLWithPath: path))
        let words =
            Self.tracer + starter + [
                programs + "/hyperlight-supervisor", "--config", path, "--socket",
                folder + "/c.sock", "--log-format", "json",
            ]
        program = try RunningProgram(
            words[0], Array(words.dropFirst()),
            environment: hasStandIn ? Self.environment(for: sandboxes) : [:])
    }

    /// Where a sandbox wants the Microsoft hypervisor and the tests bring a stand-in, that.
    private static func environment(for sandboxes: [SandboxEntry]) -> [String: String] {
        guard let shim = Machine.mshvShim,
            sandboxes.contains(where: { $0.hypervisor == Driver.mshv.rawValue })
        else { return [:] }
        return ["HYPERLIGHT_TEST_MSHV_SHIM": shim]
    }

    deinit { end() }

    /// Puts every process into a trace of its own, for `tools/coverage`.
    ///
    /// With `-D` strace stands aside, so that signals go to the supervisor and not to strace.
    private static let tracer: [String] = {
        let folder = ProcessInfo.processInfo.environment["HYPERLIGHT_TRACES"]
        return folder.map { ["strace", "-D", "-ff", "-qq", "-o", $0 + "/trace"] } ?? []
    }()

    /// Runs `body` with a supervisor that is gone afterwards, with all its children.
    static func with<Value>(
        _ sandboxes: [SandboxEntry], programs: String = Machine.programFolder,
        starter: [String] = [], _ body: (RunningSupervisor) throws -> Value
    ) throws -> Value {
        let supervisor = try RunningSupervisor(sandboxes, programs: programs, starter: starter)
        defer { supervisor.end() }
        do {
            return try body(supervisor)
        } catch let error as HarnessError {
            throw HarnessError("\(error)\nlog of the supervisor:\n\(supervisor.lastLines)")
        }
    }

    static func configuration(_ sandboxes: [SandboxEntry]) throws -> Data {
        struct File: Encodable {
            let version = 1
            let sandboxes: [SandboxEntry]
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .withoutEscapingSlashes]
        return try encoder.encode(File(sandboxes: sandboxes))
    }

    /// A new folder with a short path: the paths of Unix sockets are limited.
    static func makeFolder() throws -> String {
        var template = Array("/tmp/hlt.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw HarnessError("mkdtemp") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A TCP port of the loopback that nobody has, below those that the kernel gives to clients.
    static func freePort() throws -> UInt16 {
        for _ in 0..<100 {
            let port = UInt16.random(in: 20000..<32000)
            let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            if bindLoopback(descriptor, port) { return port }
        }
        throw HarnessError("no free port")
    }

    static func bindLoopback(_ descriptor: Int32, _ port: UInt16) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    // MARK: - Log

    /// All records so far.
    var log: [LogLine] {
        program.output.wait(until: .after(.zero)) { bytes -> Bool? in
            absorb(bytes)
            return true
        }
        return records
    }

    /// Takes in the whole lines that have come since the last time.
    private func absorb(_ bytes: [UInt8]) {
        guard let end = bytes[parsed...].lastIndex(of: UInt8(ascii: "\n")) else { return }
        let decoder = JSONDecoder()
        for line in bytes[parsed..<end].split(separator: UInt8(ascii: "\n")) {
            guard let record = try? decoder.decode(LogLine.self, from: Data(line)) else { continue }
            records.append(record)
        }
        parsed = end + 1
    }

    /// The end of the log without what the guests print, for messages.
    var lastLines: String {
        log.filter { $0.event != "guest.output" }.suffix(40)
            .map { "\($0.ts) \($0.level) \($0.sandbox) \($0.event): \($0.msg)" }
            .joined(separator: "\n")
    }

    /// Waits for a record at place `start` of the log or later.
    @discardableResult
    func waitForEvent(
        _ sandbox: String, _ event: String, containing text: String = "", from start: Int = 0,
        _ duration: Duration = .seconds(10) * Machine.slowness
    ) throws -> LogLine {
        try waitForRecord("\(event) \"\(text)\" of \(sandbox)", from: start, duration) {
            $0.isAbout(sandbox, event, containing: text)
        }
    }

    /// Waits for a record at place `start` of the log or later that is as wanted.
    func waitForRecord(
        _ what: String, from start: Int = 0, _ duration: Duration,
        where isWanted: (LogLine) -> Bool
    ) throws -> LogLine {
        var next = start
        let found = program.output.wait(until: .after(duration)) { bytes -> LogLine? in
            absorb(bytes)
            while next < records.count {
                next += 1
                if isWanted(records[next - 1]) { return records[next - 1] }
            }
            return nil
        }
        guard let found else { throw HarnessError("waited \(duration) for \(what)") }
        return found
    }

    /// The records from a time on, in seconds since 1970.
    func records(since start: Double) -> ArraySlice<LogLine> {
        let log = log
        return log[(log.lastIndex { $0.time < start }.map { $0 + 1 } ?? 0)...]
    }

    // MARK: - Control

    /// The sandboxes start before the control socket is there.
    func waitForControlSocket() {
        let path = socket
        let deadline = Deadline.after(.seconds(10))
        while access(path, F_OK) != 0, program.reap() == nil, !deadline.isOver { poll(nil, 0, 1) }
    }

    /// Runs `hyperlight-ctl` with these words; its exit code and everything it printed.
    func control(_ words: [String]) throws -> (ending: RunningProgram.Ending, text: String) {
        waitForControlSocket()
        let program = try RunningProgram(
            Machine.program("hyperlight-ctl"), words + ["--socket", socket])
        defer { program.end() }
        let ending = try program.waitForEnd(.seconds(10))
        _ = program.output.waitForEnd(.seconds(5))
        return (ending, program.output.text)
    }

    /// What `hyperlight-ctl status --format json` says of a sandbox.
    func status(_ name: String) throws -> SandboxStatus {
        let (_, text) = try control(["status", "--format", "json"])
        let all: [SandboxStatus]
        do {
            all = try JSONDecoder().decode([SandboxStatus].self, from: Data(text.utf8))
        } catch {
            throw HarnessError("status: \(error) in \(text)")
        }
        guard let status = all.first(where: { $0.name == name }) else {
            throw HarnessError("status has no sandbox \(name): \(text)")
        }
        return status
    }

    /// What `hyperlight-ctl show --format json` says of a sandbox.
    func details(_ name: String) throws -> SandboxDetails {
        let (_, text) = try control(["show", name, "--format", "json"])
        do {
            return try JSONDecoder().decode(SandboxDetails.self, from: Data(text.utf8))
        } catch {
            throw HarnessError("show: \(error) in \(text)")
        }
    }

    // MARK: - End

    /// The supervisor's children that live.
    var children: [Int32] {
        let id = program.processID
        let path = "/proc/\(id)/task/\(id)/children"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
        return text.split(separator: " ").compactMap { Int32($0) }.filter(processLives)
    }

    /// Kills it, waits for its children and removes its folder.
    func end() {
        let children = children
        program.end()
        let areGone =
            (try? Deadline.wait(.seconds(5), for: "the children") {
                !children.contains(where: processLives)
            }) != nil
        if !areGone {
            Issue.record("children of a killed supervisor live on")
            for child in children { kill(child, SIGKILL) }
        }
        if ownsFolder { try? FileManager.default.removeItem(atPath: folder) }
    }
}
