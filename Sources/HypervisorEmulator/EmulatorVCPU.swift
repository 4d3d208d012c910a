import CUnicorn
import GuestModel
import Hypervisor

/// The vCPU: a loop around the engine that turns what it saw into exits.
final class EmulatorVCPU: VirtualCPU {
    let engine: Engine
    let memory: GuestMemory
    private var watches: WatchList
    let watchedMemory: WatchedMemory
    /// Registers that mean nothing to the engine, kept for reading back.
    private var unused: (cr8: UInt64, apicBase: UInt64) = (0, 0)
    private var isCodeStale = false
    private var areTranslationsStale = false

    let patchesSoftwareBreakpoints = false
    let stepsByTrapFlag = false

    init(engine: Engine, memory: GuestMemory) {
        self.engine = engine
        self.memory = memory
        watches = WatchList(engine: engine)
        watchedMemory = WatchedMemory(engine: engine, memory: memory)
    }

    // MARK: registers

    func readState() throws(HypervisorError) -> VCPUState {
        var system = SystemRegisters(
            control: try engine.control, segments: try engine.segments)
        system.cr8 = unused.cr8
        system.apicBase = unused.apicBase
        return VCPUState(general: try engine.general, system: system)
    }

    func write(_ registers: RegisterFile) throws(HypervisorError) {
        try engine.setGeneral(registers)
    }

    func write(_ system: SystemRegisters) throws(HypervisorError) {
        guard system.isLongModeRing0 else {
            throw .missing("the emulator runs 64-bit ring 0 with paging and nothing else")
        }
        try engine.setControl(system.emulatorControl)
        try engine.setSegments(system.emulatorSegments)
        unused = (system.cr8, system.apicBase)
        areTranslationsStale = true
    }

    func readExtendedState() throws(HypervisorError) -> ExtendedState? {
        try ExtendedState(engine.vector, kernelGSBase: engine.kernelGSBase)
    }

    func write(_ extended: ExtendedState) throws(HypervisorError) {
        guard extended.upperYMM == nil else { throw .missing("AVX in the emulator") }
        try engine.setVector(extended.emulatorVector)
        if let base = extended.kernelGSBase { try engine.setKernelGSBase(base) }
    }

    func reset() throws(HypervisorError) {
        var vector = cunicorn_vector()
        (vector.control, vector.tag, vector.mxcsr) = (0x37F, 0xFFFF, 0x1F80)
        try engine.setVector(vector)
        try engine.setKernelGSBase(0)
        areTranslationsStale = true
        isCodeStale = true
    }

    // MARK: what the host changed

    func setBreakpoints(_ breakpoints: Breakpoints) throws(HypervisorError) {
        guard Set(breakpoints.hardware).count <= hardwareBreakpointsMax else {
            throw .tooManyBreakpoints(limit: hardwareBreakpointsMax)
        }
        if try watchedMemory.watch(breakpoints.watchpoints) { isCodeStale = true }
        if try watches.setBreakpoints(breakpoints) { isCodeStale = true }
    }

    func codeChanged() {
        isCodeStale = true
    }

    func translationsChanged() {
        areTranslationsStale = true
        isCodeStale = true
    }

    // MARK: stopping

    var kick: Kick { engine.kick }

    func clearKick() { engine.forgetStop() }

    // MARK: running

    func run(_ mode: RunMode) throws(HypervisorError) -> VMExit {
        try forgetWhatIsStale()
        while true {
            if engine.isStopped { return .interrupted }
            if let exit = try exitInFront(mode) { return exit }
            let exit = engine.run(mode)
            if let use = try use(before: exit) { return .debug(use) }
            if let exit = try outcome(of: exit, mode) { return exit }
        }
    }

    private func forgetWhatIsStale() throws(HypervisorError) {
        if isCodeStale { try engine.forgetAllCode() }
        if areTranslationsStale { try engine.forgetTranslations() }
        isCodeStale = false
        areTranslationsStale = false
    }

    /// What happens at RIP without the engine: a breakpoint, or an instruction that leaves the guest.
    private func exitInFront(_ mode: RunMode) throws(HypervisorError) -> VMExit? {
        let rip = try engine.rip
        if mode == .continue, let hit = watches.breakpoint(at: rip) { return .debug(hit) }
        if engine.mayLeave(at: rip), let exit = try leave() { return exit }
        try watches.removeLeaving(rip)
        return nil
    }

    /// Does the instruction at RIP if it is one that leaves the guest.
    private func leave() throws(HypervisorError) -> VMExit? {
        var registers = try engine.general
        let view = GuestView(memory, control: try engine.control)
        let bytes = view.code(at: registers.rip, byteCount: 15)
        let exit: VMExit
        switch LeavingInstruction(bytes, registers: registers) {
        case nil: return nil
        case .out(let port, let size, let value, let byteCount):
            registers.rip &+= byteCount
            exit = .portWrite(port: port, size: size, value: value)
        case .halt(let byteCount):
            registers.rip &+= byteCount
            exit = .halted
        case .unsupported(let port):
            return .portUnsupported(port: port)
        }
        try engine.setGeneral(registers)
        return exit
    }

    /// The use of watched memory by the last instruction that was completed before `exit`.
    ///
    /// It comes before whatever ended the run. An instruction that did not come to its end used
    /// nothing: it is executed again, or never.
    private func use(before exit: cunicorn_exit) throws(HypervisorError) -> DebugExit? {
        guard exit.is_memory_used != 0 else { return nil }
        let use = watchedMemory.takeHit()
        switch cunicorn_reason(UInt32(bitPattern: exit.reason)) {
        case CUNICORN_MEMORY, CUNICORN_FAILED: return nil
        case CUNICORN_EXCEPTION:
            guard try engine.rip != exit.instruction else { return nil }
            // Of the next instruction, which will raise it again.
            _ = try engine.takeException()
        case CUNICORN_FOUND: try watches.addLeaving(exit.foundAddresses)
        default: break
        }
        return use
    }

    /// The exit that a run came to, or nil to go on.
    private func outcome(
        of exit: cunicorn_exit, _ mode: RunMode
    ) throws(HypervisorError) -> VMExit? {
        switch cunicorn_reason(UInt32(bitPattern: exit.reason)) {
        case CUNICORN_ENDED: return ended(mode)
        case CUNICORN_WATCHED: return nil
        case CUNICORN_FOUND:
            try watches.addLeaving(exit.foundAddresses)
            return nil
        case CUNICORN_LATE_OUT:
            try watches.addLeaving([exit.address])
            return .portWrite(
                port: UInt16(truncatingIfNeeded: exit.port),
                size: UInt8(truncatingIfNeeded: exit.size), value: exit.value)
        case CUNICORN_LATE_IN:
            return .portUnsupported(port: UInt16(truncatingIfNeeded: exit.port))
        case CUNICORN_EXCEPTION: return try raised(UInt8(truncatingIfNeeded: exit.vector), mode)
        case CUNICORN_MEMORY:
            guard let access = MemoryAccess(rawValue: UInt8(truncatingIfNeeded: exit.access)),
                access != .execute
            else { return .fetchUnmapped(.init(try engine.rip)) }
            return .memory(.init(exit.address), access)
        default: return .failed("emulator: \(errorText(exit.error))")
        }
    }

    /// A run that ended without a word: its step is done, it was stopped, or the guest halted.
    ///
    /// Every HLT in translated code was found before, so a stop is never mistaken for one.
    private func ended(_ mode: RunMode) -> VMExit {
        if mode == .step { return .debug(.step) }
        return engine.isStopped ? .interrupted : .halted
    }

    private func raised(_ vector: UInt8, _ mode: RunMode) throws(HypervisorError) -> VMExit? {
        let (errorCode, isSoftware) = try engine.takeException()
        if vector == 1 { return .debug(.guest) }
        if vector == 3, watches.catchesBreakpointInstruction,
            let address = try breakpointInstruction()
        {
            return .debug(.softwareBreakpoint(address))
        }
        // A breakpoint comes before the fault of a fetch, as it does with debug registers.
        if vector == GuestException.pageFault, mode == .continue,
            let hit = watches.breakpoint(at: try engine.general.rip)
        {
            return .debug(hit)
        }
        let exception = GuestException(
            vector: vector, errorCode: isSoftware ? 0 : errorCode, isSoftware: isSoftware)
        guard try deliver(exception) else { return .shutdown }
        if let use = watchedMemory.takeHit() { return .debug(use) }
        return mode == .step ? .debug(.step) : nil
    }

    /// The address of the `int3` that was just executed; RIP is moved back to it.
    private func breakpointInstruction() throws(HypervisorError) -> GuestVirtualAddress? {
        var registers = try engine.general
        let view = GuestView(memory, control: try engine.control)
        guard view.bytes(at: registers.rip &- 1, byteCount: 1) == [0xCC] else { return nil }
        registers.rip &-= 1
        try engine.setGeneral(registers)
        return .init(registers.rip)
    }
}

extension cunicorn_exit {
    fileprivate var foundAddresses: [UInt64] {
        var copy = self
        // SAFETY: a C array of a known number of words; `found_count` never exceeds it.
        return unsafe withUnsafeBytes(of: &copy.found) { bytes in
            unsafe Array(bytes.bindMemory(to: UInt64.self).prefix(Int(found_count)))
        }
    }
}
