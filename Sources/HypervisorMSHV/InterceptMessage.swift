import GuestModel
import Hypervisor

/// Why a processor stopped, read from the message that the hypervisor has written.
///
/// - Source: Linux `include/hyperv/hvhdk.h`, `struct hv_message` and the messages named in
///   `MSHVLayout.Message`.
enum InterceptMessage: Hashable {
    case port(PortIntercept)
    /// Memory that is not there, or not for this access.
    case memory(GuestPhysicalAddress, MemoryAccess)
    /// An instruction is to be fetched from memory that is not there.
    case fetch(rip: UInt64)
    case halt
    case exception(ExceptionIntercept)
    /// Triple fault.
    case unrecoverableException
    case invalidRegister
    case unsupportedFeature(UInt32, parameter: UInt64)

    private typealias Layout = MSHVLayout.Message

    /// Reads the message in `bytes`.
    /// - Throws: `.call` with what is wrong with it, for a message that is too short for what it says
    ///   or that this driver did not ask for.
    init(_ bytes: [UInt8]) throws(HypervisorError) {
        guard let rawKind = bytes.number(at: Layout.kind, as: UInt32.self),
            let payloadByteCount = bytes.number(at: Layout.payloadByteCount, as: UInt8.self),
            Layout.payload + Int(payloadByteCount) <= bytes.count
        else { throw Self.bad("it is no message") }
        // What lies behind the payload means nothing.
        let message = Array(bytes.prefix(Layout.payload + Int(payloadByteCount)))
        guard let kind = MessageKind(rawValue: rawKind) else {
            throw Self.bad("unexpected type 0x\(String(rawKind, radix: 16))")
        }
        guard let meaning = Self.meaning(of: message, kind) else {
            throw Self.bad("type 0x\(String(rawKind, radix: 16)) with \(payloadByteCount) bytes")
        }
        self = meaning
    }

    private static func bad(_ text: String) -> HypervisorError {
        .call("message of the hypervisor: \(text)", errno: 0)
    }

    private static func meaning(of message: [UInt8], _ kind: MessageKind) -> InterceptMessage? {
        switch kind {
        case .halt: .halt
        case .unrecoverableException: .unrecoverableException
        case .invalidRegister: .invalidRegister
        case .port: PortIntercept(message).map(InterceptMessage.port)
        case .exception: ExceptionIntercept(message).map(InterceptMessage.exception)
        case .unmappedMemory, .memoryAccessDenied: memory(message)
        case .unsupportedFeature: feature(message)
        }
    }

    private static func memory(_ message: [UInt8]) -> InterceptMessage? {
        guard let address = message.number(at: Layout.guestPhysical, as: UInt64.self),
            let access = message.number(at: Layout.access, as: UInt8.self),
            let rip = message.number(at: Layout.rip, as: UInt64.self)
        else { return nil }
        switch access {
        case 0: return .memory(GuestPhysicalAddress(address), .read)
        case 1: return .memory(GuestPhysicalAddress(address), .write)
        case 2: return .fetch(rip: rip)
        default: return nil
        }
    }

    private static func feature(_ message: [UInt8]) -> InterceptMessage? {
        guard let feature = message.number(at: Layout.feature, as: UInt32.self),
            let parameter = message.number(at: Layout.featureParameter, as: UInt64.self)
        else { return nil }
        return .unsupportedFeature(feature, parameter: parameter)
    }
}

/// An access to a port; RIP is at the instruction.
struct PortIntercept: Hashable {
    let port: UInt16
    /// How many bytes, and RAX cut to them; nil for IN and for string forms.
    let output: Output?
    let rip: UInt64
    let instructionLength: UInt64

    struct Output: Hashable {
        let size: UInt8
        let value: UInt32
    }

    /// Nil when the message is too short or says what no processor can have done.
    init?(_ message: [UInt8]) {
        typealias Layout = MSHVLayout.Message
        guard let port = message.number(at: Layout.port, as: UInt16.self),
            let info = message.number(at: Layout.portInfo, as: UInt8.self),
            let rax = message.number(at: Layout.portRAX, as: UInt64.self),
            let access = message.number(at: Layout.access, as: UInt8.self),
            let rip = message.number(at: Layout.rip, as: UInt64.self),
            let length = message.number(at: Layout.instructionLength, as: UInt8.self),
            1...15 ~= length & 0xF
        else { return nil }
        self.port = port
        self.rip = rip
        instructionLength = UInt64(length & 0xF)
        let isStringForm = info & Self.stringOrRepeated != 0
        switch (access, isStringForm, info & Self.sizeMask) {
        case (1, false, 1): output = Output(size: 1, value: UInt32(rax & 0xFF))
        case (1, false, 2): output = Output(size: 2, value: UInt32(rax & 0xFFFF))
        case (1, false, 4): output = Output(size: 4, value: UInt32(rax & 0xFFFF_FFFF))
        case (0, _, 1), (0, _, 2), (0, _, 4), (1, true, 1), (1, true, 2), (1, true, 4): output = nil
        default: return nil
        }
    }

    private static let sizeMask: UInt8 = 0b00111
    private static let stringOrRepeated: UInt8 = 0b11000
}

/// An exception that has not been delivered.
struct ExceptionIntercept: Hashable {
    let vector: UInt16
    let rip: UInt64
    let instructionLength: UInt64
    /// What belongs to it: debug conditions as in DR6 for vector 1.
    let parameter: UInt64

    /// Nil when the message is too short.
    init?(_ message: [UInt8]) {
        typealias Layout = MSHVLayout.Message
        guard let vector = message.number(at: Layout.vector, as: UInt16.self),
            let parameter = message.number(at: Layout.exceptionParameter, as: UInt64.self),
            let rip = message.number(at: Layout.rip, as: UInt64.self),
            let length = message.number(at: Layout.instructionLength, as: UInt8.self)
        else { return nil }
        self.vector = vector
        self.rip = rip
        self.parameter = parameter
        instructionLength = UInt64(length & 0xF)
    }
}
