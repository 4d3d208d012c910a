import Glibc
import GuestModel
import Hypervisor
import LinuxSystem

/// A machine with a CPU of few instructions, so that a test can follow every step.
///
/// NOP (90) does nothing, INT3 (CC) stops, HLT (F4) halts, PUSHF (9C) pushes the flags, those of a step
/// with its trap flag, EB waits for a kick and then goes on, and A5 uses the first byte of all memory
/// that is watched.
/// Like an emulating KVM it reports a step over HLT as a step.
@safe final class NopMachine: VirtualMachine, VirtualCPU, @unchecked Sendable {
    /// The byte of the instruction that waits for a kick.
    static let wait: UInt8 = 0xEB
    /// The byte of the instruction that uses watched memory.
    static let use: UInt8 = 0xA5

    let capabilities: DriverCapabilities
    let patchesSoftwareBreakpoints = true
    private let memory = GuestMemory()
    private var state = VCPUState()
    private var breakpoints = Breakpoints()
    /// What the guest has of the registers that are not read at every stop.
    private var extended: ExtendedState?
    /// Whether its registers are out of reach.
    var isUnreadable = false
    /// Never given back: a signal may come at any time.
    private let kicked: UnsafeMutablePointer<UInt8>

    init(capabilities: DriverCapabilities = .complete, extended: ExtendedState? = nil) {
        self.capabilities = capabilities
        self.extended = extended
        unsafe kicked = .allocate(capacity: 1)
        unsafe kicked.initialize(to: 0)
    }

    var vcpu: any VirtualCPU { self }
    var kick: Kick { unsafe .flag(kicked) }

    func prepareForConfinement() {}

    func map(_ region: MemoryRegion) throws(HypervisorError) { try memory.add(region) }
    func readState() throws(HypervisorError) -> VCPUState {
        guard !isUnreadable else { throw .missing("registers") }
        return state
    }
    func write(_ registers: RegisterFile) throws(HypervisorError) { state.general = registers }
    func write(_ system: SystemRegisters) throws(HypervisorError) { state.system = system }
    func readExtendedState() throws(HypervisorError) -> ExtendedState? { extended }
    func write(_ extended: ExtendedState) throws(HypervisorError) { self.extended = extended }
    func reset() {}
    func codeChanged() {}
    func translationsChanged() {}
    func clearKick() { unsafe kicked.pointee = 0 }

    func setBreakpoints(_ breakpoints: Breakpoints) throws(HypervisorError) {
        guard breakpoints.hardware.isEmpty || capabilities.contains(.hardwareBreakpoints) else {
            throw .missing("hardware breakpoints")
        }
        guard breakpoints.watchpoints.isEmpty || capabilities.contains(.watchpoints) else {
            throw .missing("data watchpoints")
        }
        guard breakpoints.debugRegisters != nil else {
            throw .tooManyBreakpoints(limit: hardwareBreakpointsMax)
        }
        self.breakpoints = breakpoints
    }

    /// What lies where memory is mapped one to one, for tests.
    func byte(at address: GuestVirtualAddress) -> UInt8? {
        memory.readUInt8(at: .init(address.rawValue))
    }

    /// What the last `setBreakpoints` set, for tests.
    var watchpoints: [Watchpoint] { breakpoints.watchpoints }

    func run(_ mode: RunMode) throws(HypervisorError) -> VMExit {
        while true {
            guard unsafe kicked.pointee == 0 else { return .interrupted }
            let here = GuestVirtualAddress(state.general.rip)
            if mode == .continue, breakpoints.hardware.contains(here) {
                return .debug(.hardwareBreakpoint(here))
            }
            // Memory is mapped one to one where these guests execute.
            var byte: [UInt8] = []
            guard memory.read(at: .init(here.rawValue), byteCount: 1, appendingTo: &byte) else {
                return .fetchUnmapped(here)
            }
            if byte == [0xCC] { return .debug(.softwareBreakpoint(here)) }
            state.general.rip += 1
            if byte == [Self.wait] { return waitForKick() }
            if byte == [0x9C] { pushFlags(trapFlag: mode == .step) }
            if byte == [Self.use], let watched = breakpoints.watchpoints.first {
                return .debug(.watchpoint(watched.kind, watched.range.start))
            }
            if mode == .step { return .debug(.step) }
            if byte == [0xF4] { return .halted }
        }
    }

    private func pushFlags(trapFlag: Bool) {
        let general = state.general
        let place = PageWalk.translate(
            .init(general.rsp &- 8), system: state.system, memory: memory)
        guard let place = place?.physicalAddress else { return }
        state.general.rsp -= 8
        _ = memory.writeUInt64(general.rflags | (trapFlag ? 0x100 : 0), at: place)
    }

    private func waitForKick() -> VMExit {
        let deadline = monotonicNanoseconds() + 5_000_000_000
        while unsafe kicked.pointee == 0 {
            guard monotonicNanoseconds() < deadline else { return .failed("no kick came") }
            _ = sched_yield()
        }
        return .interrupted
    }
}

extension NopMachine {
    /// Where the code of `image` lies.
    static let codeStart: UInt64 = 0x20_0000

    /// A bare guest image of one segment with this code.
    static func image(_ code: [UInt8]) -> [UInt8] {
        func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
            unsafe withUnsafeBytes(of: value.littleEndian) { unsafe Array($0) }
        }
        var image: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        image += bytes(UInt16(2)) + bytes(UInt16(62)) + bytes(UInt32(1))
        image += bytes(codeStart) + bytes(UInt64(64)) + bytes(UInt64(0)) + bytes(UInt32(0))
        for half: UInt16 in [64, 56, 1, 64, 0, 0] { image += bytes(half) }
        image += bytes(UInt32(1)) + bytes(UInt32(7))
        for word: UInt64 in [120, codeStart, codeStart, UInt64(code.count), UInt64(code.count)] {
            image += bytes(word)
        }
        return image + bytes(UInt64(4096)) + code
    }
}
