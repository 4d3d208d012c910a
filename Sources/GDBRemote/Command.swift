package import GuestModel

/// Everything a client can ask, as a value.
///
/// Each packet family is parsed in a file of its own under `Commands/`.
package enum Command: Hashable, Sendable {
    /// Not known here: the empty reply says so and the client goes another way.
    case unsupported

    // Connection
    case supportedFeatures(ClientFeatures)
    case startNoAckMode
    /// `qSymbol::`: the client offers to look up symbols.
    case symbolLookupOffer

    // Threads and life
    case stopReason
    case currentThread
    /// `qfThreadInfo`.
    case firstThreads
    /// `qsThreadInfo`.
    case moreThreads
    case threadDescription(ThreadID)
    case selectThread(ThreadID)
    case isThreadAlive(ThreadID)
    case isAttached
    case detach(process: UInt64?, staysStopped: Bool)
    /// `k` and `vKill`; only the second one is answered.
    case kill(wantsReply: Bool)

    // Registers and memory
    case readRegisters
    case writeRegisters([UInt8])
    case readRegister(UInt64)
    case writeRegister(UInt64, [UInt8])
    case readMemory(GuestVirtualAddress, byteCount: Int, MemoryForm)
    case writeMemory(GuestVirtualAddress, [UInt8])
    /// `qCRC`.
    case checksumMemory(GuestVirtualAddress, byteCount: UInt64)

    // Running
    case insertBreakpoint(BreakpointKind, GuestVirtualAddress)
    case removeBreakpoint(BreakpointKind, GuestVirtualAddress)
    /// `vCont?`.
    case resumeActions
    case resume([ResumeRequest])

    // Objects
    /// `qXfer:features:read:target.xml`.
    case targetDescription(offset: Int, byteCount: Int)
    /// `qXfer:features:read` of any other annex.
    case unknownAnnex
    case sectionOffsets
    /// `qRcmd`: what the user typed after `monitor`.
    case monitor([UInt8])
}

/// How memory travels in the reply.
package enum MemoryForm: Hashable, Sendable {
    /// `m`: hex pairs.
    case hex
    /// `x`: `b` and escaped bytes.
    case binary
}

extension Command {
    /// The command that the body of one packet stands for.
    ///
    /// Unknown packets are `.unsupported`, which is no error.
    package init(body: [UInt8]) throws(PacketError) {
        guard let first = body.first else {
            self = .unsupported
            return
        }
        var reader = BodyReader(body, from: 1)
        switch Unicode.Scalar(first) {
        case "m": self = try .readMemory(&reader, form: .hex)
        case "x": self = try .readMemory(&reader, form: .binary)
        case "M": self = try .writeMemoryHex(&reader)
        case "X": self = try .writeMemoryBinary(&reader)
        case "g": self = try .readRegisters(&reader)
        case "G": self = .writeRegisters(try reader.hexBytesToEnd())
        case "p": self = try .readRegister(&reader)
        case "P": self = try .writeRegister(&reader)
        case "Z", "z": self = try .breakpoint(&reader, inserts: first == UInt8(ascii: "Z"))
        case "c", "s": self = try .resume(&reader, steps: first == UInt8(ascii: "s"))
        case "C", "S": self = try .resumeWithSignal(&reader, steps: first == UInt8(ascii: "S"))
        case "v": self = try .verbose(&reader)
        case "q": self = try .query(&reader)
        case "Q": self = reader.isWhole("StartNoAckMode") ? .startNoAckMode : .unsupported
        case "?", "H", "T", "D", "k":
            self = try .lifecycle(&reader, packet: Unicode.Scalar(first))
        default: self = .unsupported
        }
    }

    private static func verbose(_ reader: inout BodyReader) throws(PacketError) -> Command {
        if reader.take(prefix: "Cont") {
            return reader.isWhole("?") ? .resumeActions : try .threadResume(&reader)
        }
        if reader.take(prefix: "Kill;") {
            _ = try reader.hexNumber()
            return .kill(wantsReply: true)
        }
        return .unsupported
    }
}

extension BodyReader {
    /// Whether all that is left is `text`.
    func isWhole(_ text: String) -> Bool { rest.elementsEqual(text.utf8) }
}
