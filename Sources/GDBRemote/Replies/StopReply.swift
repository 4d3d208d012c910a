package import GuestModel

/// Why a resume came to its end, as clients are told.
///
/// - Source: gdb manual, node "Stop Reply Packets".
package enum StopReply: Hashable, Sendable {
    case stopped(StopReason)
    case exited(code: UInt8)
    /// Ended by a signal, in gdb's numbering.
    case killed(signal: UInt8)

    /// gdb's numbers of the signals that stand for what happens to a guest.
    package enum Signal {
        package static let interrupt: UInt8 = 0x02
        package static let illegalInstruction: UInt8 = 0x04
        package static let trap: UInt8 = 0x05
        package static let abort: UInt8 = 0x06
        package static let arithmetic: UInt8 = 0x08
        package static let kill: UInt8 = 0x09
        package static let segmentationFault: UInt8 = 0x0B
    }
}

extension StopReason {
    /// The signal that stands for this stop.
    package var signal: UInt8 {
        switch self {
        case .entryPoint, .attached, .stepped, .softwareBreakpoint, .hardwareBreakpoint,
            .watchpoint, .guestTrap:
            StopReply.Signal.trap
        case .interrupted: StopReply.Signal.interrupt
        case .crashed(let crash): crash.signal
        }
    }
}

extension GuestCrash {
    /// The signal a user would expect from an ordinary process that did the same.
    package var signal: UInt8 {
        switch self {
        case .tripleFault, .unmappedAccess, .unmappedFetch: StopReply.Signal.segmentationFault
        case .unsupportedInstruction, .driverFailure: StopReply.Signal.illegalInstruction
        case .unexpectedPort, .aborted, .protocolViolation: StopReply.Signal.abort
        case .exception(let exception): exception.signal
        }
    }
}

extension CPUException {
    fileprivate var signal: UInt8 {
        switch vector {
        case Self.divideError: StopReply.Signal.arithmetic
        // #DB and #BP that nobody caught.
        case 1, 3: StopReply.Signal.trap
        case Self.invalidOpcode: StopReply.Signal.illegalInstruction
        // #MF and #XM.
        case 16, 19: StopReply.Signal.arithmetic
        default: StopReply.Signal.segmentationFault
        }
    }
}

extension PacketEncoder {
    /// Frames `reply` with the registers that clients ask for first.
    package mutating func packet(
        _ reply: StopReply, registers: RegisterFile, identity: TargetIdentity,
        features: ClientFeatures
    ) {
        start()
        switch reply {
        case .exited(let code):
            append("W")
            append(hex: [code].span)
            appendProcess(identity, features)
        case .killed(let signal):
            append("X")
            append(hex: [signal].span)
            appendProcess(identity, features)
        case .stopped(let reason):
            append("T")
            append(hex: [reason.signal].span)
            append(reason, features)
            append("thread:")
            append(threadOf: identity, features)
            append(";")
            if features.contains(.threadsInStopReplies) {
                append("threads:1;thread-pcs:")
                append(wideNumber: registers.rip)
                append(";")
            }
            append(expedited: registers)
            append("core:0;")
        }
        finish()
    }

    /// Appends our vCPU's thread-id in the form that the client understands.
    package mutating func append(threadOf identity: TargetIdentity, _ features: ClientFeatures) {
        if features.contains(.multiprocess) {
            append("p")
            append(number: identity.process)
            append(".")
        }
        append(number: TargetIdentity.thread)
    }

    private mutating func appendProcess(_ identity: TargetIdentity, _ features: ClientFeatures) {
        guard features.contains(.multiprocess) else { return }
        append(";process:")
        append(number: identity.process)
    }

    /// Appends a breakpoint's kind.
    ///
    /// A guest at its entry point shows none: gdb takes a breakpoint reason
    /// without a breakpoint of its own for a late report and goes on by itself.
    private mutating func append(_ reason: StopReason, _ features: ClientFeatures) {
        switch reason {
        case .softwareBreakpoint:
            if features.contains(.softwareBreakReason) { append("swbreak:;") }
        case .hardwareBreakpoint:
            if features.contains(.hardwareBreakReason) { append("hwbreak:;") }
        case .watchpoint(let kind, let address):
            append(kind.stopKey)
            append(number: address.rawValue)
            append(";")
        case .stepped:
            if features.contains(.lldb) { append("reason:trace;") }
        case .crashed(let crash):
            if features.contains(.lldb) { append(description: crash) }
        case .entryPoint, .attached, .interrupted, .guestTrap: break
        }
    }

    private mutating func append(description crash: GuestCrash) {
        let text = Array(crash.printable.utf8)
        append("reason:exception;description:")
        append(hex: text.span)
        append(";")
    }

    /// All sixteen digits of `value`, highest first.
    private mutating func append(wideNumber value: UInt64) {
        append(littleEndian: value.byteSwapped)
    }

    /// rip, rbp, rsp and eflags: one `g` saved a stop.
    private mutating func append(expedited registers: RegisterFile) {
        append("10:")
        append(littleEndian: registers.rip)
        append(";6:")
        append(littleEndian: registers.rbp)
        append(";7:")
        append(littleEndian: registers.rsp)
        append(";11:")
        append(littleEndian: registers.rflags, byteCount: 4)
        append(";")
    }
}

extension WatchKind {
    /// What a stop reply calls it.
    fileprivate var stopKey: String {
        switch self {
        case .write: "watch:"
        case .read: "rwatch:"
        case .access: "awatch:"
        }
    }
}
