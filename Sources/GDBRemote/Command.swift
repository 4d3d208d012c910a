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
    /// What a client turns on by a packet of its own (`QEnableErrorStrings` and the like).
    case enable(ClientFeatures)
    /// `!`.
    case extendedMode
    /// `qEcho`: the text comes back as it is.
    case echo([UInt8])
    /// `qHostInfo`.
    case hostDescription
    /// `qProcessInfo`.
    case processDescription
    /// `qWatchpointSupportInfo`.
    case watchpointCount
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
    /// `qThreadStopInfo`.
    case threadStopReason(ThreadID)
    /// `jThreadsInfo`.
    case threadsInJSON
    /// `vAttach`.
    case attach(process: UInt64)
    /// `vRun` and `R`: begin anew at the entry point; only the first one is answered.
    case restart(wantsReply: Bool)
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
    /// `qSearch:memory`; the pattern has at least one byte.
    case searchMemory(GuestVirtualAddress, byteCount: UInt64, pattern: [UInt8])
    /// `qMemoryRegionInfo`.
    case describeRegion(GuestVirtualAddress)
    /// `QSaveRegisterState`.
    case saveRegisters
    /// `QRestoreRegisterState`: the number that saving answered.
    case restoreRegisters(UInt64)

    // Running
    case insertBreakpoint(BreakpointKind, GuestVirtualAddress)
    case removeBreakpoint(BreakpointKind, GuestVirtualAddress)
    case insertWatchpoint(Watchpoint)
    case removeWatchpoint(Watchpoint)
    /// `vCont?`.
    case resumeActions
    case resume([ResumeRequest])

    // Objects
    /// `qXfer`: a piece of one of our objects.
    case readObject(TransferObject, offset: Int, byteCount: Int)
    /// `qXfer` of an annex that the object does not have.
    case unknownAnnex
    case file(FileCommand)
    case sectionOffsets
    /// `qRcmd`: what the user typed after `monitor`.
    case monitor([UInt8])
}

/// The objects that clients read piece by piece (`qXfer`).
package enum TransferObject: Hashable, Sendable {
    /// `features:read:target.xml`: the registers.
    case targetDescription
    /// `threads:read`.
    case threads
    /// `exec-file:read`: the name of the file with symbols.
    case executableName
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
        case "G": self = try .writeRegisters(&reader)
        case "p": self = try .readRegister(&reader)
        case "P": self = try .writeRegister(&reader)
        case "Z", "z": self = try .breakpoint(&reader, inserts: first == UInt8(ascii: "Z"))
        case "c", "s": self = try .resume(&reader, steps: first == UInt8(ascii: "s"))
        case "C", "S": self = try .resumeWithSignal(&reader, steps: first == UInt8(ascii: "S"))
        case "v": self = try .verbose(&reader)
        case "q": self = try .query(&reader)
        case "Q": self = try .setting(&reader)
        case "j": self = reader.isWhole("ThreadsInfo") ? .threadsInJSON : .unsupported
        case "?", "H", "T", "D", "k", "!", "R":
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
        if reader.take(prefix: "Attach;") {
            let process = try reader.hexNumber()
            try reader.expectEnd()
            return .attach(process: process)
        }
        // A file name and arguments mean nothing here: there is one guest.
        if reader.isWhole("Run") || reader.take(prefix: "Run;") {
            return .restart(wantsReply: true)
        }
        if reader.take(prefix: "File:") { return try file(&reader) }
        return .unsupported
    }
}

extension BodyReader {
    /// Whether all that is left is `text`.
    func isWhole(_ text: String) -> Bool { rest.elementsEqual(text.utf8) }
}
