/// Why the guest stands still in front of a debugger.
package enum StopReason: Hashable, Sendable {
    /// Held at its entry point; nothing of the guest has run.
    case entryPoint
    /// Halted because a client attached.
    case attached
    /// The client asked for it (0x03).
    case interrupted
    /// A single step or a range step came to its end.
    case stepped
    case softwareBreakpoint(GuestVirtualAddress)
    case hardwareBreakpoint(GuestVirtualAddress)
    /// The guest used watched memory; the address is the first of the used bytes that is watched.
    case watchpoint(WatchKind, GuestVirtualAddress)
    /// An `int3` or a debug trap of the guest's own making.
    case guestTrap
    /// The guest cannot go on; its registers and memory can still be read.
    case crashed(GuestCrash)
}

/// What ended a guest against its will.
package enum GuestCrash: Hashable, Sendable {
    case tripleFault
    /// Access to a guest physical address without memory, or a write to read-only memory.
    case unmappedAccess(GuestPhysicalAddress, MemoryAccess)
    /// A jump to where no memory is.
    case unmappedFetch(GuestVirtualAddress)
    /// An instruction that the driver cannot execute, with its first bytes.
    case unsupportedInstruction(bytes: [UInt8])
    /// OUT or IN on a port that the ABI does not have.
    case unexpectedPort(UInt16)
    /// An exception that the guest had no answer to and reported (port 102).
    case exception(CPUException)
    /// The guest reported it itself (port 102): code and text, both chosen by the guest.
    case aborted(code: UInt8, text: String)
    /// The guest broke the rules of its ABI.
    case protocolViolation(String)
    /// The driver failed; the text is the driver's.
    case driverFailure(String)
}

package enum MemoryAccess: UInt8, Hashable, Sendable {
    case read = 0
    case write = 1
    case execute = 2
}

/// How a guest ended.
package enum GuestEnd: Hashable, Sendable {
    /// It said so (HLT or port 108 of a bare guest).
    case finished
    case crashed(GuestCrash)
    /// Ended from outside.
    case killed
}

/// How a breakpoint is made: `int3` in memory (`Z0`) or a debug register (`Z1`).
package enum BreakpointKind: UInt8, Hashable, Sendable {
    case software = 0
    case hardware = 1
}

/// Debug registers that an x86 CPU has for breakpoints.
package let hardwareBreakpointsMax = 4

extension GuestCrash: CustomStringConvertible {
    package var description: String {
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        return switch self {
        case .tripleFault: "triple fault"
        case .unmappedAccess(let address, let access):
            "\(access) of guest physical address \(hex(address.rawValue)) that it may not touch"
        case .unmappedFetch(let address):
            "jump to \(hex(address.rawValue)) where no memory is"
        case .unsupportedInstruction(let bytes):
            "instruction this driver cannot execute:"
                + bytes.map { " " + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        case .unexpectedPort(let port): "access to unknown port \(port)"
        case .exception(let exception): "exception \(exception)"
        case .aborted(let code, let text): "abort with code \(code): \(text)"
        case .protocolViolation(let text): text
        case .driverFailure(let text): text
        }
    }
}
