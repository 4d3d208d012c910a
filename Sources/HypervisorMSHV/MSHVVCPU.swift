import CLinux
import Glibc
package import GuestModel
package import Hypervisor
import LinuxSystem

/// The one virtual processor of a partition.
///
/// The driver keeps one copy of the registers between two runs and hands over what has changed in one
/// place, right before the next run: through the register page while it is valid, else by hypercall,
/// never both.
@safe package final class MSHVVCPU: VirtualCPU {
    let descriptor: OwnedDescriptor
    let partition: MSHVPartition
    let capabilities: DriverCapabilities
    /// What the partition has mapped, to look at the guest's code.
    let memory: GuestMemory
    private let page: RegisterPage?
    private let state: VPStateBuffer

    /// Means something where `isGeneralKnown`, or where `changed` says so.
    private(set) var general = RegisterFile()
    private var isGeneralKnown = false
    private var changed: GeneralRegisterSet = []
    private var system: SystemRegisters?
    /// Whether system registers were written that the page does not show: hypercalls leave it alone,
    /// and only a run that came back with a message is sure to have filled it again.
    private var isPageBehind = false
    private var mustFlushTranslations = false
    /// What the model-specific registers were at first, of those that are there.
    let modelSpecific: [(MSHVRegister, RegisterValue)]

    private(set) var breakpoints = Breakpoints()
    private(set) var softwareBreakpoints: Set<GuestVirtualAddress> = []
    /// What DR0 to DR3 are for.
    private(set) var debugRegisters: [DebugRegister] = []
    private(set) var interception = DebugInterception()

    /// Whether a halted processor's RIP is behind its HLT; nil as long as nobody knows.
    var isRIPBehindHalts: Bool?

    /// Where the last #DB showed its conditions, for measurements on a real host.
    var lastDebugConditions: (register: UInt64, message: UInt64)?
    /// Whether the register page shows registers, nil without one; for measurements as well.
    var isPageValid: Bool? { page?.isValid }

    /// The kernel's copy of the message that ended the last run.
    ///
    /// The page with the hypervisor's own is left alone: this copy cannot change while it is read.
    private var message = [UInt8](repeating: 0, count: MSHVLayout.Message.byteCount)
    private let repeatedKick: UnsafeMutablePointer<clinux_repeated_kick>

    /// Takes over a processor that has not run; to be used by the calling thread only.
    init(
        _ descriptor: consuming OwnedDescriptor, partition: MSHVPartition, memory: GuestMemory,
        usesRegisterPage: Bool, capabilities: DriverCapabilities
    ) throws(HypervisorError) {
        let page = usesRegisterPage ? try RegisterPage.map(descriptor) : nil
        let state = try VPStateBuffer()
        try state.withArea(of: descriptor, isChanged: true) { $0.reset() }
        let modelSpecific = Self.readModelSpecific(descriptor)
        let kick = UnsafeMutablePointer<clinux_repeated_kick>.allocate(capacity: 1)
        unsafe kick.initialize(to: clinux_repeated_kick())
        let result = unsafe clinux_open_repeated_kick(kick)
        guard result >= 0 else {
            unsafe kick.deallocate()
            throw .call("timer_create", errno: -result)
        }
        self.descriptor = descriptor
        self.partition = partition
        self.memory = memory
        self.page = page
        self.state = state
        self.capabilities = capabilities
        self.modelSpecific = modelSpecific
        unsafe repeatedKick = kick
    }

    deinit {
        // SAFETY: opened in `init`; the kick is valid for the life of the machine only.
        unsafe clinux_close_repeated_kick(repeatedKick)
        unsafe repeatedKick.deallocate()
    }

    // MARK: Registers

    package func readState() throws(HypervisorError) -> VCPUState {
        try loadGeneral()
        return VCPUState(general: general, system: try readSystem())
    }

    package func write(_ registers: RegisterFile) throws(HypervisorError) {
        general = registers
        isGeneralKnown = true
        changed = .all
    }

    package func write(_ system: SystemRegisters) throws(HypervisorError) {
        _ = try descriptor.hypercall(.write(system.entries))
        self.system = system
        isPageBehind = true
    }

    /// Makes `general` what the processor has, but for what was changed since it stopped.
    func loadGeneral() throws(HypervisorError) {
        guard !isGeneralKnown else { return }
        var registers = try readGeneral()
        if changed.contains(.rip) { registers.rip = general.rip }
        general = registers
        isGeneralKnown = true
    }

    private func readGeneral() throws(HypervisorError) -> RegisterFile {
        if let page, page.isValid { return page.general }
        let values = try read(MSHVRegister.general + [.rip, .rflags])
        var ordered = InlineArray<16, UInt64>(repeating: 0)
        for index in ordered.indices { ordered[index] = values[index].low }
        var registers = RegisterFile(hardwareOrder: ordered)
        (registers.rip, registers.rflags) = (values[16].low, values[17].low)
        return registers
    }

    func readSystem() throws(HypervisorError) -> SystemRegisters {
        if let system { return system }
        var fresh = SystemRegisters()
        if let page, page.isValid, !isPageBehind {
            page.read(into: &fresh)
            fresh.take(try read(SystemRegisters.namesBesidePage), SystemRegisters.namesBesidePage)
        } else {
            fresh.take(try read(SystemRegisters.names), SystemRegisters.names)
        }
        system = fresh
        return fresh
    }

    /// Puts RIP there for the next run.
    func moveRIP(to address: UInt64) {
        general.rip = address
        changed.insert(.rip)
    }

    /// Changes RFLAGS for the next run; the registers must be known.
    func setFlags(_ flags: UInt64) {
        guard flags != general.rflags else { return }
        general.rflags = flags
        changed.insert(.rflags)
    }

    func read(_ registers: [MSHVRegister]) throws(HypervisorError) -> [RegisterValue] {
        Hypercall.values(in: try descriptor.hypercall(.read(registers)))
    }

    func write(_ values: [(MSHVRegister, RegisterValue)]) throws(HypervisorError) {
        _ = try descriptor.hypercall(.write(values))
    }

    /// Hands over what has changed since the processor stopped.
    private func handOver() throws(HypervisorError) {
        if mustFlushTranslations {
            // Writing CR3 is what makes a CPU forget translations.
            try write([(.intermediateCR3, RegisterValue(try readSystem().cr3))])
            mustFlushTranslations = false
        }
        guard !changed.isEmpty else { return }
        if let page, page.isValid {
            page.write(general, changed)
        } else {
            try write(general.entries(changed))
        }
        changed = []
    }

    // MARK: Extended state

    package func readExtendedState() throws(HypervisorError) -> ExtendedState? {
        // Without SSE no guest has changed it: not worth a request.
        guard capabilities.contains(.sse) else { return nil }
        let (hasAVX, base) = (try hasAVX(), try read([.kernelGSBase])[0].low)
        return try state.withArea(of: descriptor, isChanged: false) {
            $0.state(hasAVX: hasAVX, kernelGSBase: base)
        }
    }

    package func write(_ extended: ExtendedState) throws(HypervisorError) {
        if extended.upperYMM != nil, !(try hasAVX()) { throw .missing("AVX in this guest") }
        try state.withArea(of: descriptor, isChanged: true) { $0.replace(by: extended) }
        guard let base = extended.kernelGSBase else { return }
        try write([(.kernelGSBase, RegisterValue(base))])
    }

    /// Whether the guest has AVX on at this moment.
    ///
    /// - Source: Intel SDM volume 1, "Detection of AVX Instructions".
    private func hasAVX() throws(HypervisorError) -> Bool {
        guard capabilities.contains(.avx) else { return false }
        // Without OSXSAVE no guest can have changed XCR0: not worth a request.
        guard try readSystem().cr4 & 1 << 18 != 0 else { return false }
        return try read([.xcr0])[0].low & 0b110 == 0b110
    }

    package func reset() throws(HypervisorError) {
        try state.withArea(of: descriptor, isChanged: true) { $0.reset() }
        try write([
            (.pendingEvent, RegisterValue(0)), (.pendingInterruption, RegisterValue(0)),
            (.interruptState, RegisterValue(0)), (.xcr0, RegisterValue(1)),
        ])
        let present = try read(modelSpecific.map(\.0))
        let different = zip(modelSpecific, present).filter { $0.1 != $1 }.map(\.0)
        for entry in different { try write([entry]) }
        try interception.resetGuest(descriptor)
    }

    /// Those that this hypervisor and this CPU have, with what they hold at first.
    private static func readModelSpecific(
        _ vp: borrowing OwnedDescriptor
    ) -> [(MSHVRegister, RegisterValue)] {
        var found: [(MSHVRegister, RegisterValue)] = []
        for register in MSHVRegister.modelSpecific {
            // One that is not there is refused, and then no guest can have changed it. One that does
            // not take back even what it holds cannot be reset.
            guard let output = try? vp.hypercall(.read([register])) else { continue }
            let entry = (register, Hypercall.values(in: output)[0])
            guard (try? vp.hypercall(.write([entry]))) != nil else { continue }
            found.append(entry)
        }
        return found
    }

    // MARK: Breakpoints

    package func setBreakpoints(_ breakpoints: Breakpoints) throws(HypervisorError) {
        debugRegisters = try breakpoints.debugRegisters(of: "the hypervisor", with: capabilities)
        if breakpoints.software != self.breakpoints.software {
            softwareBreakpoints = Set(breakpoints.software)
        }
        self.breakpoints = breakpoints
    }

    package var patchesSoftwareBreakpoints: Bool { true }
    package func codeChanged() {}
    package func translationsChanged() { mustFlushTranslations = true }

    // MARK: Running

    package func run(_ mode: RunMode) throws(HypervisorError) -> VMExit {
        try interception.apply(
            debug: mode == .step || !debugRegisters.isEmpty, registers: debugRegisters,
            breakpoint: !softwareBreakpoints.isEmpty || breakpoints.catchesBreakpointInstruction,
            partition: partition, vp: descriptor)
        // An exception that turns out to be the guest's is no exit; a kick ends a guest that has
        // nothing but those.
        while true {
            guard try enter(mode) == .stopped else { return .interrupted }
            if let exit = try exit(InterceptMessage(message), isStepping: mode == .step) {
                return exit
            }
        }
    }

    /// One run that can execute nothing, of a partition without memory; a kick does not keep it from
    /// being made, because it comes back by itself.
    func runWithoutMemory() {
        guard memory.regions.isEmpty else { return }
        for _ in 0..<Self.attemptsMax {
            let result = descriptor.callMSHV(.runVP, &message)
            if result >= 0 { isPageBehind = false }
            guard result == -EAGAIN || result == -EINTR else { break }
        }
        forget()
    }

    /// The processor may have other registers now.
    private func forget() {
        isGeneralKnown = false
        system = nil
    }

    private enum EntryResult { case stopped, interrupted }

    /// One run of the processor, repeated while the kernel asks for it.
    private func enter(_ mode: RunMode) throws(HypervisorError) -> EntryResult {
        let trapFlagIsOurs = mode == .step ? try setTrapFlag() : false
        try handOver()
        var result = -EAGAIN
        var attempts = 0
        while result == -EAGAIN, attempts < Self.attemptsMax {
            result = runOnce()
            attempts += 1
        }
        if result >= 0 { isPageBehind = false }
        forget()
        if trapFlagIsOurs { try clearTrapFlag() }
        switch result {
        case -EINTR: return .interrupted
        case 0...: return .stopped
        default: throw .call(MSHVRequest.runVP.name, errno: -result)
        }
    }

    private static let attemptsMax = 1000

    private func runOnce() -> Int32 {
        // SAFETY: the request writes one message; the buffer has its size and stays in place.
        unsafe message.withUnsafeMutableBytes { bytes in
            unsafe clinux_ioctl_unless_kicked(
                repeatedKick, descriptor.rawValue, MSHVRequest.runVP.rawValue, bytes.baseAddress)
        }
    }

    private static let trapFlag: UInt64 = 1 << 8

    /// Whether the guest did not have it by itself.
    private func setTrapFlag() throws(HypervisorError) -> Bool {
        try loadGeneral()
        guard general.rflags & Self.trapFlag == 0 else { return false }
        setFlags(general.rflags | Self.trapFlag)
        return true
    }

    private func clearTrapFlag() throws(HypervisorError) {
        try loadGeneral()
        setFlags(general.rflags & ~Self.trapFlag)
    }

    // MARK: Kick

    package var kick: Kick {
        unsafe .function(
            { unsafe clinux_kick_repeatedly($0) }, UnsafeMutableRawPointer(repeatedKick))
    }

    package func clearKick() { unsafe clinux_forget_repeated_kick(repeatedKick) }
}
