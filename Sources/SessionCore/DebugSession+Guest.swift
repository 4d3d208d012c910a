import GDBRemote
import GuestModel
import WireProtocol

extension DebugSession {
    /// Does a command that concerns the guest's state.
    mutating func performOnGuest(_ command: Command) {
        switch guest {
        case .stopped(let stopped):
            if outstanding == .abandoned, command != .stopReason { return reply(.workerGone) }
            perform(command, on: stopped)
        case .ended(let end): performAfterEnd(command, end: end, error: .noSuchThread)
        case .lost:
            let end = StopReply.killed(signal: StopReply.Signal.kill)
            performAfterEnd(command, end: end, error: .workerGone)
        case .detached, .attaching, .running: reply(.busy)
        }
    }

    private mutating func performAfterEnd(_ command: Command, end: StopReply, error: ErrorReply) {
        switch command {
        case .stopReason: reply(end)
        case .resume: reportEnd(end)
        default: reply(error)
        }
    }

    private mutating func perform(_ command: Command, on stopped: StoppedGuest) {
        switch command {
        case .stopReason: reply(.stopped(stopped.reason))
        case .readRegisters, .readRegister: readRegisters(command, stopped)
        case .writeRegisters, .writeRegister: writeRegisters(command, stopped)
        case .readMemory(let address, let byteCount, let form):
            readMemory(address, byteCount, form, stopped)
        case .checksumMemory(let address, let byteCount):
            readOn(MemoryChecksum(address, byteCount: byteCount))
        case .resume(let requests): resume(requests, stopped)
        case .removeBreakpoint(let kind, let address):
            send(.removeBreakpoint(kind, address), as: .breakpoint)
        case .writeMemory(let address, let bytes):
            guard !stopped.isCrashed else { return replyCrashed() }
            writeMemory(address, bytes)
        case .insertBreakpoint(let kind, let address):
            guard !stopped.isCrashed else { return replyCrashed() }
            send(.insertBreakpoint(kind, address), as: .breakpoint)
        default: reply("")
        }
    }

    private mutating func replyCrashed() {
        reply(.notWritable, text: "the guest crashed and can only be read")
    }

    // MARK: - Memory

    private mutating func readMemory(
        _ address: GuestVirtualAddress, _ byteCount: Int, _ form: MemoryForm,
        _ stopped: StoppedGuest
    ) {
        if byteCount == 0 {
            reply { $0.packet(memory: [UInt8]().span, form: form) }
        } else if let bytes = stopped.memory(at: address, byteCount: byteCount) {
            reply { $0.packet(memory: bytes.span, form: form) }
        } else {
            send(.readMemory(address, byteCount: UInt32(byteCount)), as: .memory(form))
        }
    }

    private mutating func writeMemory(_ address: GuestVirtualAddress, _ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return reply("OK") }
        guard bytes.count <= WireLimits.memoryBytesMax else { return reply(.malformed) }
        if case .stopped(var stopped) = guest {
            stopped.forgetMemory()
            guest = .stopped(stopped)
        }
        send(.writeMemory(address, bytes), as: .memoryWrite)
    }

    /// Asks for the next piece of a checksum, or answers it.
    mutating func readOn(_ checksum: MemoryChecksum) {
        guard checksum.left == 0 else {
            let request = DebugRequest.readMemory(
                checksum.address, byteCount: checksum.pieceCount)
            return send(request, as: .checksum(checksum))
        }
        let value = UInt64(checksum.checksum.value.byteSwapped)
        reply { encoder in
            encoder.start()
            encoder.append("C")
            encoder.append(littleEndian: value, byteCount: 4)
            encoder.finish()
        }
    }

    // MARK: - Registers

    private mutating func readRegisters(_ command: Command, _ stopped: StoppedGuest) {
        guard command.needsExtendedState else { return replyRegisters(command, stopped, nil) }
        readsExtendedState = true
        switch stopped.extended {
        case .known(let extended): replyRegisters(command, stopped, extended)
        case .unknown: send(.readExtendedState, as: .extendedState(command))
        }
    }

    private mutating func replyRegisters(
        _ command: Command, _ stopped: StoppedGuest, _ extended: ExtendedState?
    ) {
        let image = RegisterImage(stopped.state, extended: extended)
        guard case .readRegister(let number) = command else {
            return reply { encoder in
                encoder.start()
                image.append(to: &encoder)
                encoder.finish()
            }
        }
        guard RegisterLayout.range(of: number) != nil else { return reply(.malformed) }
        reply { encoder in
            encoder.start()
            _ = image.append(register: number, to: &encoder)
            encoder.finish()
        }
    }

    private mutating func writeRegisters(_ command: Command, _ stopped: StoppedGuest) {
        guard !stopped.isCrashed else { return replyCrashed() }
        // What a driver cannot show is not written either, so it need not be asked for.
        let extended: ExtendedState?
        switch (stopped.extended, command.needsExtendedState) {
        case (.unknown, true): return send(.readExtendedState, as: .extendedState(command))
        case (.unknown, false): extended = nil
        case (.known(let state), _): extended = state
        }
        var image = RegisterImage(stopped.state, extended: extended)
        do throws(RegisterImage.WriteError) {
            switch command {
            case .writeRegister(let number, let value): try image.write(register: number, value)
            case .writeRegisters(let values): try image.write(leading: values)
            default: break
            }
        } catch {
            return reply(error == .notWritable ? .notWritable : .malformed)
        }
        write(image, stopped, extended)
    }

    private mutating func write(
        _ image: RegisterImage, _ stopped: StoppedGuest, _ extended: ExtendedState?
    ) {
        let state = image.state(replacing: stopped.state)
        let newExtended = extended.map { image.extended(replacing: $0) }
        guard state.system == stopped.state.system, newExtended == extended else {
            let write = StateWrite(
                general: state.general, fsBase: state.system.fs.base,
                gsBase: state.system.gs.base,
                extended: newExtended == extended ? nil : newExtended)
            return send(.writeState(write), as: .stateWrite(state, write.extended))
        }
        guard state != stopped.state else { return reply("OK") }
        send(.writeRegisters(state.general), as: .registerWrite(state, thenResume: nil))
    }

    // MARK: - Running

    private mutating func resume(_ requests: [ResumeRequest], _ stopped: StoppedGuest) {
        let chosen = requests.first { $0.thread.map(identity.matches) ?? true }
        guard let chosen else { return reply(.noSuchThread) }
        let mode = chosen.action.mode
        guard !stopped.isCrashed else {
            // Going on after a crash is how a client lets the guest end.
            return mode == .continue ? run(.continue) : replyCrashed()
        }
        guard let address = chosen.address, address.rawValue != stopped.state.general.rip else {
            return run(mode)
        }
        var state = stopped.state
        state.general.rip = address.rawValue
        send(.writeRegisters(state.general), as: .registerWrite(state, thenResume: mode))
    }

    /// Lets the guest go on; the reply is the next stop.
    mutating func run(_ mode: ResumeMode) {
        actions.append(.sendToWorker(.resume(mode)))
        resumedCrash = stoppedGuest?.crash
        guest = .running
        if isInterruptWaiting { requestHalt() }
        isInterruptWaiting = false
    }

    /// Tells the client that there is no guest any more and gives it time to close.
    mutating func reportEnd(_ end: StopReply) {
        guest = .ended(end)
        reply(end)
        deadlines.client = now + Deadlines.lingerTime
    }
}

extension ResumeAction {
    fileprivate var mode: ResumeMode {
        switch self {
        case .run: .continue
        case .step: .step
        case .stepRange(let start, let end):
            start < end ? .stepRange(start: start, end: end) : .step
        }
    }
}

extension Command {
    /// Whether x87 and SSE registers are part of this.
    fileprivate var needsExtendedState: Bool {
        switch self {
        case .readRegisters: true
        case .writeRegisters(let bytes): bytes.count > RegisterLayout.extendedStart
        case .readRegister(let number), .writeRegister(let number, _):
            RegisterLayout.isExtended(number)
        default: false
        }
    }
}
