// Hypervisor: the contract between the worker and a driver.
//
// A driver makes one virtual machine with one vCPU and runs it. It knows nothing of debuggers, guest
// ABIs or sockets. `HypervisorKVM`, `HypervisorMSHV` and `HypervisorEmulator` implement the two
// protocols below; one conformance suite holds them to the same behaviour.
//
// Everything here is used from one thread. Only the kick may come from elsewhere: from a signal
// handler on that same thread.

import Glibc
package import GuestModel

/// One virtual machine: guest physical memory and a single vCPU.
package protocol VirtualMachine: AnyObject {
    /// What this driver was seen to be able to do on this machine.
    var capabilities: DriverCapabilities { get }

    /// Gives the guest the memory of `region`.
    ///
    /// The caller keeps the host memory mapped for as long as the machine exists.
    /// - Throws: `HypervisorError` when the region overlaps another or the system refuses it.
    func map(_ region: MemoryRegion) throws(HypervisorError)

    /// Whether the guest keeps the very pages of host memory that it was given, also when the process
    /// has given them back to the system.
    var pinsMemory: Bool { get }

    /// Does what the system does at a machine's first run only, and what a confined process may not.
    ///
    /// Call it once, when the process has the user id that it keeps and may still start threads.
    func prepareForConfinement() throws(HypervisorError)

    /// The one vCPU.
    var vcpu: any VirtualCPU { get }
}

extension VirtualMachine {
    package var pinsMemory: Bool { true }
}

/// The one vCPU of a machine.
package protocol VirtualCPU: AnyObject {
    /// Registers as the guest would see them at this point.
    ///
    /// After a port write exit RIP is behind the OUT, whatever the hypervisor's own convention: the
    /// driver finishes the instruction first when it has to. RFLAGS never shows a TF or RF that the
    /// driver put there.
    func readState() throws(HypervisorError) -> VCPUState

    /// Replaces the general registers, RIP and RFLAGS; takes effect before the next instruction.
    func write(_ registers: RegisterFile) throws(HypervisorError)

    /// Replaces segments, tables and control registers.
    func write(_ system: SystemRegisters) throws(HypervisorError)

    /// x87, SSE and what goes with them, or nil when the driver cannot deliver it.
    func readExtendedState() throws(HypervisorError) -> ExtendedState?

    /// Replaces x87 and SSE state, and what else `extended` has; MXCSR takes only the bits it has.
    ///
    /// - Throws: `.missing` for upper halves of YMM registers while the guest has AVX off.
    func write(_ extended: ExtendedState) throws(HypervisorError)

    /// Forgets what the guest has done to the vCPU: an access that is not finished, an exception on its
    /// way, x87 and SSE state.
    ///
    /// The registers are the caller's to write afterwards; breakpoints stay as they are.
    func reset() throws(HypervisorError)

    /// The breakpoints in force from the next run on; replaces what was set before.
    ///
    /// - Throws: `.tooManyBreakpoints` when they do not fit, `.missing` when the driver cannot have
    ///   such breakpoints on this machine; what was set before stays then.
    func setBreakpoints(_ breakpoints: Breakpoints) throws(HypervisorError)

    /// Whether the worker has to patch `int3` into guest memory for a software breakpoint.
    ///
    /// When false the driver stops at `Breakpoints.software` by itself and guest memory stays as it is.
    var patchesSoftwareBreakpoints: Bool { get }

    /// Whether a step over HLT is better made with `.continue`, which a HLT ends at once.
    ///
    /// Otherwise the next run would end as halted after its first instruction.
    var keepsSteppedHalts: Bool { get }

    /// Whether a step may leave the trap flag set in the flags that the CPU pushes for an exception.
    var stepsByTrapFlag: Bool { get }

    /// Tells the driver that the host wrote what may be code (loading or patching): forget what was
    /// made of the old bytes.
    func codeChanged()

    /// Tells the driver that the host wrote page tables or mapped memory: forget cached translations.
    func translationsChanged()

    /// Enters the guest until something happens.
    ///
    /// In mode `.step` exactly one instruction executes. A step over OUT ends with the `.portWrite`
    /// exit (nothing more has run), a step over HLT with `.halted` or `.debug(.step)`: the caller
    /// looks at the instruction before. A step that uses watched memory ends with
    /// `.debug(.watchpoint)`.
    func run(_ mode: RunMode) throws(HypervisorError) -> VMExit

    /// How a signal handler makes `run` return `.interrupted`.
    var kick: Kick { get }

    /// Forgets a kick that is no longer wanted.
    ///
    /// A kick that arrives before `run` is kept and ends that run at once. Call this first, look at
    /// the reasons for kicks second, and run third: then none is lost and none is stale.
    func clearKick()
}

extension VirtualCPU {
    package var keepsSteppedHalts: Bool { false }
    package var stepsByTrapFlag: Bool { true }
}

package enum RunMode: Hashable, Sendable {
    case `continue`
    case step
}

/// Breakpoints and watchpoints of one vCPU.
package struct Breakpoints: Hashable, Sendable {
    /// Instruction addresses for the debug registers, at most `hardwareBreakpointsMax`.
    package var hardware: [GuestVirtualAddress]
    /// Instruction addresses of software breakpoints.
    package var software: [GuestVirtualAddress]
    /// Memory whose use by the guest is reported; what the host does with it is not.
    ///
    /// At most `watchpointsMax`, each of at most `watchedBytesMax`. Drivers on debug registers take
    /// what fits into the registers that hardware breakpoints leave (see `debugRegisters`).
    package var watchpoints: [Watchpoint]
    /// Whether every `int3` is an exit, also the guest's own; otherwise those go to the guest.
    package var catchesBreakpointInstruction: Bool

    package init(
        hardware: [GuestVirtualAddress] = [], software: [GuestVirtualAddress] = [],
        watchpoints: [Watchpoint] = [], catchesBreakpointInstruction: Bool = false
    ) {
        self.hardware = hardware
        self.software = software
        self.watchpoints = watchpoints
        self.catchesBreakpointInstruction = catchesBreakpointInstruction
    }
}

/// Why the guest left the CPU.
package enum VMExit: Hashable, Sendable {
    /// OUT: `size` is 1, 2 or 4, `value` holds that many bytes. The OUT is done.
    case portWrite(port: UInt16, size: UInt8, value: UInt32)
    /// IN, or a string form of IN or OUT.
    case portUnsupported(port: UInt16)
    /// HLT; RIP is behind it.
    case halted
    /// Access to memory that is not there, or a write to a read-only region.
    case memory(GuestPhysicalAddress, MemoryAccess)
    /// Instruction fetch from memory that is not there.
    case fetchUnmapped(GuestVirtualAddress)
    case debug(DebugExit)
    /// Triple fault.
    case shutdown
    /// A kick, or nothing at all: run again unless there is something else to do.
    case interrupted
    /// The driver cannot execute the instruction at RIP; its first bytes.
    case unsupportedInstruction(bytes: [UInt8])
    /// Anything else, in words.
    case failed(String)
}

/// Why a debug exit came.
package enum DebugExit: Hashable, Sendable {
    case step
    /// RIP is the address of a hardware breakpoint, which has not executed.
    case hardwareBreakpoint(GuestVirtualAddress)
    /// RIP is the address of an `int3`, ours or the guest's.
    case softwareBreakpoint(GuestVirtualAddress)
    /// The guest used watched memory, which came before everything that could stop it behind.
    ///
    /// RIP is behind the instruction, or still at it when that is a string instruction with
    /// iterations left. The address lies in the watched range: the first of the used bytes where the
    /// driver knows it, the start of the piece that a debug register watched where not.
    case watchpoint(WatchKind, GuestVirtualAddress)
    /// A #DB that none of ours explains.
    case guest
}

/// How to make a vCPU return to its caller from a signal handler.
///
/// - Important: both forms stay valid for the life of the machine.
@safe package enum Kick: @unchecked Sendable {
    /// Store 1 to this byte (`immediate_exit` of KVM); the signal itself does the rest.
    case flag(UnsafeMutablePointer<UInt8>)
    /// Call this async-signal-safe function with the argument.
    case function(@convention(c) (UnsafeMutableRawPointer?) -> Void, UnsafeMutableRawPointer?)
}

/// Host memory that becomes guest physical memory.
@safe package struct MemoryRegion: @unchecked Sendable {
    package let start: GuestPhysicalAddress
    package let byteCount: Int
    package let isGuestWritable: Bool
    package let host: UnsafeMutableRawPointer

    /// Everything is a multiple of a page; `host` outlives the machine.
    package init(
        start: GuestPhysicalAddress, byteCount: Int, isGuestWritable: Bool,
        host: UnsafeMutableRawPointer
    ) {
        self.start = start
        self.byteCount = byteCount
        self.isGuestWritable = isGuestWritable
        unsafe self.host = host
    }
}

/// What a driver could not do.
package enum HypervisorError: Error, Hashable, Sendable {
    /// A call failed; the text names it, the number is errno (0 when there is none).
    case call(String, errno: Int32)
    /// The machine lacks something the driver must have.
    case missing(String)
    case regionOverlaps(GuestPhysicalAddress)
    case tooManyBreakpoints(limit: Int)
}

extension HypervisorError: CustomStringConvertible {
    /// In words, for example "open /dev/kvm: No such file or directory".
    package var description: String {
        switch self {
        case .call(let name, errno: 0): name
        case .call(let name, let code): unsafe "\(name): \(String(cString: strerror(code)))"
        case .missing(let what): "missing: \(what)"
        case .regionOverlaps(let address): "memory at \(address) twice"
        case .tooManyBreakpoints(let limit): "more than \(limit) breakpoints"
        }
    }
}
