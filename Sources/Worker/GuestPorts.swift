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

    private let abi: GuestABIName
    private let io: GuestIOLayout?
    private var line = String.UnicodeScalarView()

    init(abi: GuestABIName, io: GuestIOLayout?) {
        self.abi = abi
        self.io = io
    }

    mutating func handle(
        port: UInt16, size: UInt8, value: UInt32, memory: GuestMemory
    ) -> PortEffect {
        switch (port, abi) {
        case (Self.halt, _): return .halt
        case (Self.debugPrint, _), (Self.log, .bare): return print(value)
        default: return .crash(.unexpectedPort(port))
        }
    }

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
