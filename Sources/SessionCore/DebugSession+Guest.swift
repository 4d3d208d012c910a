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
        case .threadStopReason(let thread):
            guard identity.matches(thread) else { return reply(.noSuchThread) }
            reply(.stopped(stopped.reason))
        case .threadsInJSON:
            reply { $0.threadsInJSON(stopped.reason, registers: stopped.state.general) }
        case .attach(let process):
            guard process == identity.process else { return reply(.noSuchThread) }
            reply(.stopped(stopped.reason))
        case .restart(let wantsReply):
            send(.restartGuest, as: .restart(wantsReply: wantsReply))
        case .readRegisters, .readRegister: readRegisters(command, stopped)
        case .writeRegisters, .writeRegister: writeRegisters(command, stopped)
        case .readMemory(let address, let byteCount, let form):
            readMemory(address, byteCount, form, stopped)
        case .checksumMemory(let address, let byteCount):
            readOn(MemoryChecksum(address, byteCount: byteCount))
        case .searchMemory(let address, let byteCount, let pattern):
            searchOn(MemorySearch(address, byteCount: byteCount, pattern: pattern))
        case .describeRegion(let address): send(.describeRegion(address), as: .region)
        case .saveRegisters: saveRegisters(stopped)
        case .restoreRegisters(let number): restoreRegisters(number, stopped)
        case .resume(let requests): resume(requests, stopped)
        case .removeBreakpoint(let kind, let address):
            remove(.removeBreakpoint(kind, address))
        case .writeMemory(let address, let bytes):
            guard !stopped.isCrashed else { return replyCrashed() }
            writeMemory(address, bytes)
        case .insertBreakpoint(let kind, let address):
            guard !stopped.isCrashed else { return replyCrashed() }
            insert(.insertBreakpoint(kind, address), undoneBy: .removeBreakpoint(kind, address))
        case .insertWatchpoint(let watchpoint):
            guard canWatch(watchpoint.kind) else { return reply("") }
            guard !stopped.isCrashed else { return replyCrashed() }
            insert(.insertWatchpoint(watchpoint), undoneBy: .removeWatchpoint(watchpoint))
        case .removeWatchpoint(let watchpoint):
            guard canWatch(watchpoint.kind) else { return reply("") }
            remove(.removeWatchpoint(watchpoint))
        default: reply("")
        }
    }

    private mutating func insert(_ insertion: DebugRequest, undoneBy removal: DebugRequest) {
        guard !removals.cancel(removal) else { return reply("OK") }
        send(insertion, as: .insertion(undoneBy: removal))
    }

    private mutating func remove(_ removal: DebugRequest) {
        guard removals.hold(removal) else { return send(removal, as: .removal) }
        reply("OK")
    }

    /// x86 has no debug register for reads alone.
    ///
    /// gdb then watches every access and drops what changed the value; lldb takes any access.
    private func canWatch(_ kind: WatchKind) -> Bool {
        kind != .read || features.contains(.lldb)
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
        } else if !readsPhysicalMemory,
            let bytes = stopped.memory(at: address, byteCount: byteCount)
        {
            reply { $0.packet(memory: bytes.span, form: form) }
        } else {
            send(memoryRequest(address, UInt32(byteCount)), as: .memory(form))
        }
    }

    /// The request for bytes at an address of the kind that this connection uses.
    private func memoryRequest(_ address: GuestVirtualAddress, _ byteCount: UInt32) -> DebugRequest
    {
        readsPhysicalMemory
            ? .readPhysicalMemory(GuestPhysicalAddress(address.rawValue), byteCount: byteCount)
            : .readMemory(address, byteCount: byteCount)
    }

    private mutating func writeMemory(_ address: GuestVirtualAddress, _ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return reply("OK") }
        guard bytes.count <= WireLimits.memoryBytesMax else { return reply(.malformed) }
        if case .stopped(var stopped) = guest {
            stopped.forgetMemory()
            guest = .stopped(stopped)
        }
        let request: DebugRequest =
            readsPhysicalMemory
            ? .writePhysicalMemory(GuestPhysicalAddress(address.rawValue), bytes)
            : .writeMemory(address, bytes)
        send(request, as: .memoryWrite)
    }

    /// Asks for the next piece of a checksum, or answers it.
    mutating func readOn(_ checksum: MemoryChecksum) {
        guard checksum.left == 0 else {
            let request = memoryRequest(checksum.address, checksum.pieceCount)
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

    /// Asks for the next piece of a search, or answers that nothing was found.
    private mutating func searchOn(_ search: MemorySearch) {
        guard search.left > 0 else { return reply("0") }
        send(memoryRequest(search.address, search.pieceCount), as: .search(search))
    }

    /// Looks at the next bytes of a search.
    mutating func searched(_ search: MemorySearch, _ bytes: [UInt8]) {
        var search = search
        let asked = Int(search.pieceCount)
        if let place = search.look(at: bytes) {
            return reply { encoder in
                encoder.start()
                encoder.append("1,")
                encoder.append(number: place.rawValue)
                encoder.finish()
            }
        }
        // Memory that ends before the search does could not be searched.
        guard bytes.count == asked else { return reply(.notMapped) }
        searchOn(search)
    }

    // MARK: - Registers

    /// Registers to come back to after a function call of the client's.
    private mutating func saveRegisters(_ stopped: StoppedGuest) {
        guard case .known(let extended) = stopped.extended else {
            return send(.readExtendedState, as: .extendedState(.saveRegisters))
        }
        guard savedRegisters.count < SavedRegisters.countMax else {
            return reply(.commandFailed, text: "too many saved register states")
        }
        let number = (savedRegisters.last?.number ?? 0) + 1
        savedRegisters.append(
            SavedRegisters(number: number, state: stopped.state, extended: extended))
        reply(String(number))
    }

    private mutating func restoreRegisters(_ number: UInt64, _ stopped: StoppedGuest) {
        guard let index = savedRegisters.firstIndex(where: { $0.number == number }) else {
            return reply(.malformed, text: "no such saved register state")
        }
        guard !stopped.isCrashed else { return replyCrashed() }
        let saved = savedRegisters.remove(at: index)
        var state = stopped.state
        state.general = saved.state.general
        state.system.fs.base = saved.state.system.fs.base
        state.system.gs.base = saved.state.system.gs.base
        state.system.cr2 = saved.state.system.cr2
        send(
            .writeState(StateWrite(state, extended: saved.extended)),
            as: .stateWrite(state, saved.extended))
    }

    /// The registers that this session's client was told of.
    var registerLayout: RegisterLayout {
        RegisterLayout(hasAVX: facts?.capabilities.contains(.avx) ?? false)
    }

    private mutating func readRegisters(_ command: Command, _ stopped: StoppedGuest) {
        guard command.needsExtendedState(registerLayout) else {
            return replyRegisters(command, stopped, nil)
        }
        readsExtendedState = true
        switch stopped.extended {
        case .known(let extended): replyRegisters(command, stopped, extended)
        case .unknown: send(.readExtendedState, as: .extendedState(command))
        }
    }

    private mutating func replyRegisters(
        _ command: Command, _ stopped: StoppedGuest, _ extended: ExtendedState?
    ) {
        let image = RegisterImage(stopped.state, extended: extended, layout: registerLayout)
        guard case .readRegister(let number) = command else {
            return reply { encoder in
                encoder.start()
                image.append(to: &encoder)
                encoder.finish()
            }
        }
        guard registerLayout.range(of: number) != nil else { return reply(.malformed) }
        // lldb would show the `x` of unavailable bytes as digits of its own making.
        guard !features.contains(.lldb) || image.isAvailable(Int(number)) else {
            return reply(.notSupported)
        }
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
        switch (stopped.extended, command.needsExtendedState(registerLayout)) {
        case (.unknown, true): return send(.readExtendedState, as: .extendedState(command))
        case (.unknown, false): extended = nil
        case (.known(let state), _): extended = state
        }
        var image = RegisterImage(stopped.state, extended: extended, layout: registerLayout)
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
            let changed = newExtended == extended ? nil : newExtended
            return send(
                .writeState(StateWrite(state, extended: changed)), as: .stateWrite(state, changed))
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
        tellWorker(.resume(mode))
        resumedCrash = stoppedGuest?.crash
        guest = .running
        if isInterruptWaiting { requestHalt() }
        isInterruptWaiting = false
    }

    /// Tells the client that there is no guest any more and gives it time to close.
    mutating func reportEnd(_ end: StopReply, after crash: GuestCrash? = nil) {
        guest = .ended(end)
        reply(end, after: crash)
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
    /// Whether registers of `ExtendedState` are part of this.
    fileprivate func needsExtendedState(_ layout: RegisterLayout) -> Bool {
        switch self {
        case .readRegisters: true
        case .writeRegisters(let bytes): bytes.count > RegisterLayout.extendedStart
        case .readRegister(let number), .writeRegister(let number, _):
            layout.isExtended(number)
        default: false
        }
    }
}
