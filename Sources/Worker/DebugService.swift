import GuestABI
import GuestModel
import Hypervisor
import LinuxSystem
import WireProtocol

// What a stub may ask of the worker, one request at a time. Every session ends in `endDebugSession`,
// whoever ended it: the client, the stub's death or the supervisor.
extension VCPULoop {
    func handle(_ request: DebugRequest) {
        switch request {
        case .attach: attach()
        case .interrupt: interrupt()
        case .detach(let mode): detach(mode)
        case .resume(let mode): resume(mode)
        case .readMemory(let address, let byteCount): readMemory(address, Int(byteCount))
        case .readExtendedState: readExtendedState()
        case .writeMemory(let address, let bytes):
            writeGuest { () throws(DebugRefusal) in try writeMemory(bytes, at: address) }
        case .writeRegisters(let registers):
            writeGuest { () throws(DebugRefusal) in try write(registers) }
        case .writeState(let write):
            writeGuest { () throws(DebugRefusal) in try self.write(write) }
        case .insertBreakpoint(let kind, let address):
            change { () throws(DebugRefusal) in
                try breakpoints.insert(kind, at: address, in: guest)
            }
        case .removeBreakpoint(let kind, let address):
            change(evenCrashed: true) { () throws(DebugRefusal) in
                try breakpoints.remove(kind, at: address, in: guest)
            }
        case .insertWatchpoint(let watchpoint):
            change { () throws(DebugRefusal) in try breakpoints.insert(watchpoint, in: guest) }
        case .removeWatchpoint(let watchpoint):
            change(evenCrashed: true) { () throws(DebugRefusal) in
                try breakpoints.remove(watchpoint, in: guest)
            }
        case .describeRegion(let address): describeRegion(around: address)
        case .readPhysicalMemory(let address, let byteCount):
            readPhysicalMemory(address, Int(byteCount))
        case .writePhysicalMemory(let address, let bytes):
            writeGuest { () throws(DebugRefusal) in try writePhysicalMemory(bytes, at: address) }
        case .restartGuest: restartGuest()
        case .inspect(let inspection): inspect(inspection)
        }
    }

    // MARK: Session

    private func attach() {
        isClientAttached = true
        do throws(DebugRefusal) {
            try breakpoints.clientCame(in: guest)
        } catch {
            log(.error, "the driver does not report the guest's own breakpoints")
        }
        send(
            .attached(
                GuestFacts(
                    loadBias: guest.plan.loadBias,
                    firstSegmentAddress: guest.plan.firstSegmentAddress,
                    capabilities: guest.capabilities)))
        // A stub that died meanwhile has ended its session already: nobody is there to stop for.
        guard isClientAttached else { return }
        switch activity {
        case .held: stop(.entryPoint)
        case .running:
            guard refreshed() else { return }
            stop(.attached)
        case .ready: stop(.attached, vcpu: .parked)
        case .stopped(let reason, let vcpu): stop(reason, vcpu: vcpu)
        case .ended(let end): send(.ended(end))
        }
    }

    private func interrupt() {
        // Only an attached client has a session whose end lets the guest go on.
        guard isClientAttached else { return }
        switch activity {
        case .running:
            guard refreshed() else { return }
            stop(.interrupted)
        case .ready: stop(.interrupted, vcpu: .parked)
        case .held, .stopped, .ended: break
        }
    }

    /// Reads the registers; false when that failed and the guest counts as crashed.
    func refreshed() -> Bool {
        do throws(HypervisorError) {
            try refresh()
            return true
        } catch {
            crash(error)
            return false
        }
    }

    private func detach(_ mode: DetachMode) {
        endDebugSession(mode)
        send(.done)
    }

    /// The stub or its client is gone without a word.
    func clientLost(_ reason: String) {
        guard isClientAttached else { return }
        log(.info, "debug session lost: \(reason)")
        endDebugSession(.asConfigured)
    }

    /// The one end of every debug session: breakpoints out, bytes restored, and the guest goes on
    /// (or stays, or ends) as the mode and the configuration say.
    private func endDebugSession(_ mode: DetachMode) {
        guard isClientAttached else { return }
        isClientAttached = false
        // One whose registers cannot be read has crashed, and its client has not seen it.
        let hasCrashed = isRunning && !refreshed()
        do throws(DebugRefusal) {
            try breakpoints.clientLeft(in: guest)
        } catch {
            log(.error, "the driver kept a breakpoint")
        }
        guard !hasCrashed else { return }
        switch (mode, activity) {
        case (.kill, _) where settings.endsOnKill: activity = .ended(.killed)
        // Where crashes wait for a client, one that leaves it stopped leaves it to the next one.
        case (.leaveStopped, .stopped(.crashed, _)) where settings.onCrash == .wait: break
        case (_, .stopped(.crashed(let crash), _)): activity = .ended(.crashed(crash))
        case (.leaveStopped, .running): stop(.interrupted)
        case (.leaveStopped, _): break
        case (_, .stopped(_, let vcpu)) where settings.resumesOnDisconnect: resumeWork(vcpu)
        case (_, .running): activity = .running(.free)
        case (_, .held), (_, .stopped), (_, .ready), (_, .ended): break
        }
    }

    /// `hyperlight-ctl resume`: lets a guest go that waits, or that a client left behind stopped; one
    /// that crashed ends.
    func resumeByOrder() {
        guard !isClientAttached else {
            return log(.warning, "not resumed: a debugger is attached")
        }
        switch activity {
        case .held: activity = .running(.free)
        case .stopped(.crashed(let crash), _): activity = .ended(.crashed(crash))
        case .stopped(_, let vcpu): resumeWork(vcpu)
        case .running, .ready, .ended: break
        }
    }

    // MARK: Running

    private func resume(_ mode: ResumeMode) {
        guard isClientAttached, case .stopped(let reason, let vcpu) = activity else {
            return send(.refused(.running))
        }
        if case .crashed(let crash) = reason {
            activity = .ended(.crashed(crash))
            return
        }
        guard case .executing = vcpu else { return activity = .ready }
        breakpoints.follow(in: guest)
        switch mode {
        case .continue: activity = .running(.free)
        case .step: activity = .running(.step)
        case .stepRange(let start, let end): activity = .running(.range(start: start, end: end))
        }
    }

    private func resumeWork(_ vcpu: VCPUWork) {
        switch vcpu {
        case .executing: activity = .running(.free)
        case .parked: activity = .ready
        // Only a crash is left like this, and that is never resumed.
        case .reporting: break
        }
    }

    // MARK: Memory and registers

    private func readMemory(_ address: GuestVirtualAddress, _ byteCount: Int) {
        guard isStopped else { return send(.refused(.running)) }
        guard GuestVirtualRange(start: address, byteCount: byteCount) != nil else {
            return send(.refused(.invalid))
        }
        let bytes = shownMemory(at: address, byteCount: byteCount)
        guard !bytes.isEmpty || byteCount == 0 else { return send(.refused(.notMapped)) }
        send(.memory(bytes))
    }

    private func readExtendedState() {
        guard isStopped else { return send(.refused(.running)) }
        // A driver that fails here has nothing to show; the client sees <unavailable>.
        let own = (try? guest.vcpu.readExtendedState()) ?? nil
        guard case .stopped(_, .reporting(let frame)) = activity, let saved = frame.extended else {
            return send(.extendedState(own))
        }
        // What the handler has not saved is still in the vCPU.
        send(
            .extendedState(
                ExtendedState(
                    fxsave: saved.bytes, upperYMM: own?.upperYMM,
                    kernelGSBase: own?.kernelGSBase)))
    }

    private func writeMemory(
        _ bytes: [UInt8], at address: GuestVirtualAddress
    ) throws(DebugRefusal) {
        guard GuestVirtualRange(start: address, byteCount: bytes.count) != nil else {
            throw .invalid
        }
        let pieces = guest.pieces(at: address, byteCount: bytes.count)
        let patched = breakpoints.patched(bytes, to: pieces)
        guard guest.write(patched.span, at: address) else { throw .notMapped }
        breakpoints.noteWritten(bytes, to: pieces)
        // It may be code, and it may be page tables.
        guest.vcpu.translationsChanged()
        guest.vcpu.codeChanged()
    }

    private func write(_ registers: RegisterFile) throws(DebugRefusal) {
        do throws(HypervisorError) {
            try guest.write(registers)
        } catch {
            throw .notSupported
        }
    }

    private func write(_ write: StateWrite) throws(DebugRefusal) {
        let bases = [write.fsBase, write.gsBase, write.extended?.kernelGSBase ?? 0]
        guard bases.allSatisfy({ PageWalk.isCanonical(GuestVirtualAddress($0)) }) else {
            throw .invalid
        }
        do throws(HypervisorError) {
            try guest.write(write)
        } catch {
            throw .notSupported
        }
    }

    /// Writes to the guest, which a client may that is not there for reading only.
    private func writeGuest(_ body: () throws(DebugRefusal) -> Void) {
        guard isStopped else { return send(.refused(.running)) }
        guard !settings.isDebugReadOnly else { return send(.refused(.readOnly)) }
        change(body)
    }

    /// Does what only a stopped guest allows and, if it is not to bring an end, a sound one.
    private func change(evenCrashed: Bool = false, _ body: () throws(DebugRefusal) -> Void) {
        guard case .stopped(let reason, _) = activity, isClientAttached else {
            return send(.refused(.running))
        }
        if case .crashed = reason, !evenCrashed { return send(.refused(.crashed)) }
        do throws(DebugRefusal) {
            try body()
            send(.done)
        } catch {
            send(.refused(error))
        }
    }

    var isStopped: Bool {
        if case .stopped = activity { isClientAttached } else { false }
    }

    /// The registers that a client sees: those of the vCPU, or those that a reported exception met.
    var shownState: VCPUState {
        if case .stopped(_, .reporting(let frame)) = activity { frame.state } else { guest.state }
    }

    /// The stop with what the client asks next: registers, code around RIP, the top of the stack.
    func stopEvent(_ reason: StopReason) -> StopEvent {
        let state = shownState
        let general = state.general
        var windows: [MemoryWindow] = []
        let code = GuestVirtualAddress(general.rip & ~63)
        append(window: code, byteCount: Self.codeWindowBytes, to: &windows)
        append(
            // gdb reads whole lines of 64 bytes.
            window: GuestVirtualAddress(general.rsp & ~63), byteCount: Self.stackWindowBytes,
            to: &windows
        )
        return StopEvent(reason: reason, state: state, windows: windows)
    }

    private static let codeWindowBytes = 128
    private static let stackWindowBytes = 448

    private func append(
        window start: GuestVirtualAddress, byteCount: Int, to windows: inout [MemoryWindow]
    ) {
        let bytes = shownMemory(at: start, byteCount: byteCount)
        guard !bytes.isEmpty else { return }
        windows.append(MemoryWindow(start: start, bytes: bytes))
    }
}

extension StopReason {
    static func breakpoint(_ kind: BreakpointKind, _ address: GuestVirtualAddress) -> StopReason {
        switch kind {
        case .software: .softwareBreakpoint(address)
        case .hardware: .hardwareBreakpoint(address)
        }
    }
}
