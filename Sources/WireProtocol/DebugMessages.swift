package import GuestModel

/// What the stub asks of the worker, one at a time.
///
/// Each one waits for the reply to the last; no request comes in between, not even `detach`. Where the
/// reply is followed by an event (`attach`), or the event is all there is (`resume`), only `detach`
/// may come before it and, after `resume`, `interrupt`. Removals wait for nothing: as many as sixteen may
/// come right ahead of another request, and are answered ahead of it.
package enum DebugRequest: WireMessage, Hashable {
    /// A client is there: halt the guest. Reply `attached`, then `stopped` or `ended`.
    case attach
    /// Reply `memory` with as many bytes as can be read, or `refused(.notMapped)`.
    case readMemory(GuestVirtualAddress, byteCount: UInt32)
    /// All or nothing. Reply `done` or `refused`.
    case writeMemory(GuestVirtualAddress, [UInt8])
    /// Replaces the whole register file. Reply `done` or `refused`.
    case writeRegisters(RegisterFile)
    /// Replaces everything of the vCPU that a client may write. Reply `done` or `refused`.
    case writeState(StateWrite)
    /// Reply `extendedState`.
    case readExtendedState
    /// Inserting twice is one breakpoint. Reply `done` or `refused`.
    case insertBreakpoint(BreakpointKind, GuestVirtualAddress)
    /// Removing what is not there is no mistake. Reply `done` or `refused`.
    case removeBreakpoint(BreakpointKind, GuestVirtualAddress)
    /// Inserting twice is one watchpoint; all of it or nothing. Reply `done` or `refused`.
    case insertWatchpoint(Watchpoint)
    /// Removing what is not there is no mistake. Reply `done` or `refused`.
    case removeWatchpoint(Watchpoint)
    /// What is mapped around an address. Reply `region`.
    case describeRegion(GuestVirtualAddress)
    /// As `readMemory`, past the page tables.
    case readPhysicalMemory(GuestPhysicalAddress, byteCount: UInt32)
    /// As `writeMemory`, past the page tables.
    case writePhysicalMemory(GuestPhysicalAddress, [UInt8])
    /// Loads the guest anew and leaves it at its entry point. Reply `done`, then `stopped`, or
    /// `refused`.
    case restartGuest
    /// Something for people to read. Reply `report`.
    case inspect(Inspection)
    /// No reply but the next `stopped` or `ended`.
    case resume(ResumeMode)
    /// The guest stops soon, with `stopped(.interrupted)`. Ignored when it stands already.
    case interrupt
    /// Ends the debug session: breakpoints out, bytes restored. Reply `done`, and nothing after it.
    case detach(DetachMode)
}

/// What a user can ask the worker in words (`monitor` in gdb).
package enum Inspection: Hashable, Sendable {
    /// What the guest does, and why.
    case status
    /// The last exits of the vCPU.
    case exits
    /// Registers that clients have no names for.
    case registers
    /// The walk of the page tables for one address.
    case translate(GuestVirtualAddress)
    /// What is mapped where.
    case regions
    /// The last calls of host functions.
    case hostCalls
    /// All of it, with the code at RIP and the top of the stack.
    case dump
}

/// All registers that a client may write, for the rare write to others than the general ones.
package struct StateWrite: Hashable, Sendable {
    package var general: RegisterFile
    package var fsBase: UInt64
    package var gsBase: UInt64
    package var cr2: UInt64
    /// Nil: x87 and SSE registers, and what goes with them, stay as they are.
    package var extended: ExtendedState?

    package init(
        general: RegisterFile, fsBase: UInt64, gsBase: UInt64, cr2: UInt64,
        extended: ExtendedState?
    ) {
        self.general = general
        self.fsBase = fsBase
        self.gsBase = gsBase
        self.cr2 = cr2
        self.extended = extended
    }

    /// Of `state`, what a client may write.
    package init(_ state: VCPUState, extended: ExtendedState?) {
        self.init(
            general: state.general, fsBase: state.system.fs.base, gsBase: state.system.gs.base,
            cr2: state.system.cr2, extended: extended)
    }
}

/// How a resumed guest goes on.
package enum ResumeMode: Hashable, Sendable {
    case `continue`
    /// One instruction.
    case step
    /// Steps while start <= RIP < end; also ends at a breakpoint or an interrupt.
    case stepRange(start: GuestVirtualAddress, end: GuestVirtualAddress)
}

/// What becomes of the guest when a session ends by request.
package enum DetachMode: UInt8, Hashable, Sendable {
    /// As the sandbox's `debug.onDisconnect` says.
    case asConfigured = 0
    case leaveStopped = 1
    /// As `debug.onKill` says.
    case kill = 2
}

/// What the worker says to the stub.
package enum DebugReply: WireMessage, Hashable {
    case done
    case refused(DebugRefusal)
    case attached(GuestFacts)
    case memory([UInt8])
    /// Nil: this driver has none to show.
    case extendedState(ExtendedState?)
    case region(MappedRegion)
    /// Lines for people, each with its line end.
    case report(String)
    /// Event: the guest stands.
    case stopped(StopEvent)
    /// Event: the guest is no more; the worker closes the connection after it.
    case ended(GuestEnd)
}

/// Why a debug request was not done.
package enum DebugRefusal: UInt8, Hashable, Sendable {
    /// No page table entry leads to memory there.
    case notMapped = 1
    /// All four debug registers are taken.
    case noFreeDebugRegister = 2
    /// The guest runs.
    case running = 3
    /// The guest crashed and is kept only for reading.
    case crashed = 4
    /// The driver cannot do it.
    case notSupported = 5
    /// The request makes no sense (an address that is not canonical, an empty range).
    case invalid = 6
    /// All places for software breakpoints are taken.
    case tooManyBreakpoints = 7
    /// The sandbox's `debug.access` is read-only.
    case readOnly = 8
}

/// What a client wants to know once about the guest.
package struct GuestFacts: Hashable, Sendable {
    /// Load address minus link address of the image, wrapping.
    package var loadBias: UInt64
    /// Virtual address of the first loadable segment as linked.
    package var firstSegmentAddress: UInt64
    package var capabilities: DriverCapabilities

    package init(loadBias: UInt64, firstSegmentAddress: UInt64, capabilities: DriverCapabilities) {
        self.loadBias = loadBias
        self.firstSegmentAddress = firstSegmentAddress
        self.capabilities = capabilities
    }
}

/// A stop with what the client will ask next (registers, and memory around RIP and RSP).
package struct StopEvent: Hashable, Sendable {
    package var reason: StopReason
    package var state: VCPUState
    package var windows: [MemoryWindow]

    package init(reason: StopReason, state: VCPUState, windows: [MemoryWindow]) {
        self.reason = reason
        self.state = state
        self.windows = windows
    }
}

/// A piece of guest memory as it was at a stop, with the bytes under breakpoints in place.
package struct MemoryWindow: Hashable, Sendable {
    package var start: GuestVirtualAddress
    package var bytes: [UInt8]

    package init(start: GuestVirtualAddress, bytes: [UInt8]) {
        self.start = start
        self.bytes = bytes
    }
}
