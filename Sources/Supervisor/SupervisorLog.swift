import ControlAPI
import GuestModel
import LinuxSystem
package import Logging
package import SandboxConfig
import NIOConcurrencyHelpers
import WireProtocol

/// The supervisor's log handler: one line a record on standard error.
package struct SupervisorLogHandler: LogHandler {
    /// How a line looks.
    package enum Form: Sendable {
        case human
        case json
    }

    /// Names of the metadata that have a place of their own in a line.
    fileprivate enum Key {
        static let sandbox = "sandbox"
        static let event = "event"
        static let fields = "fields"
    }

    private let form: Form
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]

    package init(form: Form, level: Logger.Level) {
        self.form = form
        logLevel = level
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        let time = wallClock()
        let record = LogRecord(
            seconds: time.seconds, microseconds: time.microseconds,
            level: Self.word(event.level), event: all[Key.event]?.text ?? "library",
            sandbox: all[Key.sandbox]?.text, text: "\(event.message)", fields: Self.fields(all))
        let utcTime = Timestamp.text(secondsSinceEpoch: record.seconds)
        Self.write(line(record, utcTime: utcTime)) { count in
            let lost = LogRecord(
                seconds: time.seconds, microseconds: time.microseconds, level: "warn",
                event: "log.dropped", sandbox: nil, text: "\(count) records: nobody read them",
                fields: [])
            return line(lost, utcTime: utcTime)
        }
    }

    private func line(_ record: LogRecord, utcTime: String) -> String {
        switch form {
        case .human: record.humanLine(utcTime: utcTime)
        case .json: record.jsonLine(utcTime: utcTime)
        }
    }

    /// What a reader who does not read has missed.
    private struct Gap {
        var lostRecords = 0
        /// The last line that went is not whole.
        var isLineOpen = false
    }

    private static let gap = NIOLockedValueBox(Gap())

    /// Writes a line or drops it; before the next one that goes it says how many were dropped.
    private static func write(_ line: String, lostLine: (Int) -> String) {
        gap.withLockedValue { gap in
            var text = gap.isLineOpen ? "\n" : ""
            if gap.lostRecords > 0 { text += lostLine(gap.lostRecords) }
            text += line
            let count = writeToStandardError(text)
            if count == text.utf8.count {
                gap = Gap()
            } else {
                gap.lostRecords += 1
                if count > 0 { gap.isLineOpen = true }
            }
        }
    }

    private static func fields(_ metadata: Logger.Metadata) -> [(String, String)] {
        guard case .array(let pairs) = metadata[Key.fields] else { return [] }
        return pairs.compactMap { pair -> (String, String)? in
            guard case .array(let both) = pair, both.count == 2 else { return nil }
            return (both[0].text, both[1].text)
        }
    }

    private static func word(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info, .notice: "info"
        case .warning: "warn"
        case .error: "error"
        case .critical: "fatal"
        }
    }
}

extension Logger.MetadataValue {
    fileprivate var text: String { "\(self)" }
}

extension Logger {
    /// The logger of one supervisor.
    package static func supervisor(form: SupervisorLogHandler.Form, level: Level) -> Logger {
        Logger(label: "hyperlight-supervisor") { _ in
            SupervisorLogHandler(form: form, level: level)
        }
    }

    /// One event, about one sandbox or (nil) about the supervisor.
    func log(
        level: Level, _ event: String, sandbox: SandboxName?, _ text: String,
        fields: [(String, String)] = []
    ) {
        var metadata: Metadata = [SupervisorLogHandler.Key.event: .string(event)]
        if let sandbox { metadata[SupervisorLogHandler.Key.sandbox] = .string(sandbox.text) }
        if !fields.isEmpty {
            metadata[SupervisorLogHandler.Key.fields] = .array(
                fields.map { .array([.string($0), .string($1)]) })
        }
        log(level: level, "\(text)", metadata: metadata)
    }

    func debug(_ event: String, sandbox: SandboxName?, _ text: String) {
        log(level: .debug, event, sandbox: sandbox, text)
    }

    func info(_ event: String, sandbox: SandboxName?, _ text: String) {
        log(level: .info, event, sandbox: sandbox, text)
    }

    func warning(_ event: String, sandbox: SandboxName?, _ text: String) {
        log(level: .warning, event, sandbox: sandbox, text)
    }

    func error(_ event: String, sandbox: SandboxName?, _ text: String) {
        log(level: .error, event, sandbox: sandbox, text)
    }

    func critical(_ event: String, sandbox: SandboxName?, _ text: String) {
        log(level: .critical, event, sandbox: sandbox, text)
    }
}

extension Logger.Level {
    /// The level of a child's record.
    init(_ level: WireProtocol.LogLevel) {
        switch level {
        case .trace: self = .trace
        case .debug: self = .debug
        case .info: self = .info
        case .warning: self = .warning
        case .error: self = .error
        }
    }

    /// The level that a configuration file names.
    package init(_ level: SandboxConfig.LogLevel) {
        switch level {
        case .trace: self = .trace
        case .debug: self = .debug
        case .info: self = .info
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}
