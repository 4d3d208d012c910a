import GuestABI
import GuestModel
import Hypervisor
import WireProtocol

/// What an OUT of the guest leads to.
enum PortEffect {
    case none
    /// A line that the guest printed.
    case output(String)
    case log(LogLevel, String)
    /// The guest is done, for now or for good.
    case halt
    /// The guest begins to report a CPU exception: it is in the handler, and has saved its registers.
    case exceptionBegins
    /// The guest has reported why it gives up.
    case abort(GuestAbort)
    case crash(GuestCrash)
}

/// The ports of the guest ABIs.
///
/// - Source: Hyperlight guest ABI 0.17, port table of section 9.
struct GuestPorts {
    private static let log: UInt16 = 99
    private static let callFunction: UInt16 = 101
    private static let abort: UInt16 = 102
    private static let debugPrint: UInt16 = 103
    private static let halt: UInt16 = 108
    /// A line longer than this is cut into several, in characters.
    private static let lineCharactersMax = 1024

    /// Where the message buffers are; nil for a bare guest, which has none.
    private let io: GuestIOLayout?
    private var aborts = AbortCollector()
    /// The last host functions that the guest called.
    private(set) var calls = HostCallHistory()
    private var line = String.UnicodeScalarView()

    init(io: GuestIOLayout?) {
        self.io = io
    }

    mutating func handle(
        port: UInt16, size: UInt8, value: UInt32, memory: GuestMemory
    ) -> PortEffect {
        if port == Self.halt { return .halt }
        if port == Self.debugPrint { return print(value) }
        guard let io else {
            return port == Self.log ? print(value) : .crash(.unexpectedPort(port))
        }
        // The runtime's own OUTs are all `out dx, eax`; another size is not from it.
        guard size == 4 else { return .crash(.unexpectedPort(port)) }
        do throws(MessageError) {
            switch port {
            case Self.log: return try log(io, memory)
            case Self.callFunction: return try refuseHostCall(io, memory)
            case Self.abort: return abort(value)
            default: return .crash(.unexpectedPort(port))
            }
        } catch {
            return .crash(.protocolViolation("port \(port): \(error.description)"))
        }
    }

    private func log(
        _ io: GuestIOLayout, _ memory: GuestMemory
    ) throws(MessageError) -> PortEffect {
        let record = try GuestLogRecord(message: try io.output.pop(from: memory))
        return .log(LogLevel(record.level), "\(record.source): \(record.message)")
    }

    /// No host function is offered yet: the guest is told so, and goes on.
    private mutating func refuseHostCall(
        _ io: GuestIOLayout, _ memory: GuestMemory
    ) throws(MessageError) -> PortEffect {
        let request = try HostCallRequest(message: try io.output.pop(from: memory))
        calls.note(request, .notOffered)
        let text = "HostFunction \(request.name) was not found"
        try io.input.push(HostCallAnswer.error(text: text), to: memory)
        return .log(
            .warning, "the guest called host function \(request.name), which is not offered")
    }

    private mutating func abort(_ word: UInt32) -> PortEffect {
        let beginsException = aborts.beginsException(word)
        guard let abort = aborts.collect(word) else {
            return beginsException ? .exceptionBegins : .none
        }
        return .abort(abort)
    }

    /// The guest is done with what it was doing: half a report of then belongs to nothing any more.
    mutating func forgetAbort() { aborts = AbortCollector() }

    private mutating func print(_ value: UInt32) -> PortEffect {
        guard let scalar = Unicode.Scalar(value) else {
            return .crash(.protocolViolation("printed \(value), which is no character"))
        }
        if scalar == "\n" { return flush().map(PortEffect.output) ?? .none }
        line.append(scalar)
        guard line.count >= Self.lineCharactersMax else { return .none }
        return flush().map(PortEffect.output) ?? .none
    }

    /// What was printed since the last line end, if anything.
    mutating func flush() -> String? {
        guard !line.isEmpty else { return nil }
        defer { line = String.UnicodeScalarView() }
        return String(line)
    }
}

extension LogLevel {
    /// The level of a guest's own record.
    fileprivate init(_ level: GuestLogRecord.Level) {
        switch level {
        case .trace, .none: self = .trace
        case .debug: self = .debug
        case .information: self = .info
        case .warning: self = .warning
        case .error, .critical: self = .error
        }
    }
}
