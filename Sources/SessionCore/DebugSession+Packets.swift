import GDBRemote
import GuestModel
import WireProtocol

extension DebugSession {
    /// Most packets kept while the worker is asked.
    ///
    /// Clients mostly send one at a time; a script that sends a dozen at once is served too.
    private static let waitingMax = 16

    /// Takes the body of a good packet.
    mutating func packet(_ body: [UInt8]) {
        if acknowledges { encoder.acknowledge() }
        beginSession()
        if mustWait(body) {
            keep(body)
        } else {
            // A goodbye to a running guest is obeyed at once; what it overtakes is pointless.
            if guest == .running { waiting = [] }
            carryOut(body)
        }
    }

    /// Carries out packets that waited, as far as they need wait no longer.
    mutating func serveWaiting() {
        while client != .none, let body = waiting.first {
            // It may have waited behind a goodbye.
            beginSession()
            if guest == .running, let goodbye = waiting.firstIndex(where: endsSession) {
                // What came before has become pointless, and must not begin a session anew.
                waiting.removeFirst(goodbye)
                carryOut(waiting.removeFirst())
                continue
            }
            guard !needsPatience(body) else { return }
            waiting.removeFirst()
            carryOut(body)
        }
    }

    /// The client has sent a good packet.
    private mutating func beginSession() {
        if client == .silent {
            client = .talking
            deadlines.client = nil
            actions.append(.reportAttached)
        }
        attachIfWanted()
    }

    /// Whether `body` cannot be answered yet, or not before others.
    private func mustWait(_ body: [UInt8]) -> Bool {
        guest != .running && !waiting.isEmpty || needsPatience(body)
    }

    private func needsPatience(_ body: [UInt8]) -> Bool {
        if guest == .running { return !endsSession(body) }
        if outstanding?.hasClientWaiting == true { return true }
        if plannedDetach != nil { return true }
        switch outstanding {
        case .detach: return true
        case .attach, .extendedState: return needsWorker(body)
        case .restart: return true
        case .abandoned, nil: return guest == .attaching && needsWorker(body)
        case .memory, .checksum, .search, .memoryWrite, .registerWrite, .stateWrite, .insertion,
            .removal, .region, .report:
            return true
        }
    }

    /// Whether the last thing that the client asked for is that the guest runs.
    var isResumeWaiting: Bool {
        if let last = waiting.last { return (try? Command(body: last))?.isResume ?? false }
        guard case .registerWrite(_, .some) = outstanding else { return false }
        return true
    }

    /// Whether the answer depends on the guest (and not only on this session).
    private func needsWorker(_ body: [UInt8]) -> Bool {
        guard let command = try? Command(body: body) else { return false }
        // What registers there are is one of the facts that the worker tells at once.
        if case .readObject(.targetDescription, _, _) = command { return facts == nil }
        return command.needsGuest
    }

    private func endsSession(_ body: [UInt8]) -> Bool {
        (try? Command(body: body))?.endsSession ?? false
    }

    private mutating func keep(_ body: [UInt8]) {
        let limit = guest == .running ? 1 : Self.waitingMax
        guard waiting.count < limit else {
            closeClient("packets came that nobody asked for")
            return
        }
        waiting.append(body)
    }

    private mutating func carryOut(_ body: [UInt8]) {
        do throws(PacketError) {
            perform(try Command(body: body))
        } catch {
            switch error {
            case .malformed:
                reply(.malformed)
                countMalformed()
            case .noSuchThread: reply(.noSuchThread)
            }
        }
    }

    // MARK: - Replies

    /// Frames one reply and remembers it for a `-`.
    mutating func reply(_ build: (inout PacketEncoder) -> Void) {
        // Whoever gets a reply does not wait for a running guest, unless it has asked for one already.
        if !isResumeWaiting { isInterruptWaiting = false }
        let start = encoder.bytes.count
        build(&encoder)
        if acknowledges { lastReply = Array(encoder.bytes[start...]) }
    }

    mutating func reply(_ text: String) {
        reply { $0.packet(text) }
    }

    mutating func reply(_ error: ErrorReply, text: String? = nil) {
        let features = features
        reply { $0.packet(error, text: text, for: features) }
    }

    mutating func reply(_ stop: StopReply) {
        let registers = stoppedGuest?.state.general ?? .init()
        let (identity, features) = (identity, features)
        reply { $0.packet(stop, registers: registers, identity: identity, features: features) }
    }

    /// The same, with what the guest died of in words that gdb's user sees first.
    ///
    /// lldb has a place for it in the stop itself.
    mutating func reply(_ stop: StopReply, after crash: GuestCrash?) {
        guard let crash, !features.contains(.lldb) else { return reply(stop) }
        let registers = stoppedGuest?.state.general ?? .init()
        let (identity, features) = (identity, features)
        reply { encoder in
            encoder.packet(output: "the guest crashed: \(crash.printable)\n")
            encoder.packet(stop, registers: registers, identity: identity, features: features)
        }
    }

    var stoppedGuest: StoppedGuest? {
        guard case .stopped(let stopped) = guest else { return nil }
        return stopped
    }
}

extension Command {
    /// Whether the guest must stand, or be known to have ended, before this can be answered.
    var needsGuest: Bool {
        switch self {
        case .stopReason, .threadStopReason, .threadsInJSON, .attach, .restart, .detach, .kill,
            .readRegisters, .writeRegisters, .readRegister, .writeRegister, .saveRegisters,
            .restoreRegisters, .readMemory, .writeMemory, .checksumMemory, .searchMemory,
            .describeRegion, .insertBreakpoint, .removeBreakpoint, .insertWatchpoint,
            .removeWatchpoint, .resume, .sectionOffsets:
            true
        case .monitor(let text): MonitorCommand(text).needsGuest
        case .unsupported, .supportedFeatures, .startNoAckMode, .enable, .extendedMode, .echo,
            .hostDescription, .processDescription, .watchpointCount, .symbolLookupOffer,
            .currentThread, .firstThreads, .moreThreads, .threadDescription, .selectThread,
            .isThreadAlive, .isAttached, .resumeActions, .readObject, .unknownAnnex, .file:
            false
        }
    }

    fileprivate var isResume: Bool {
        if case .resume = self { true } else { false }
    }

    /// Whether this is obeyed while the guest runs.
    fileprivate var endsSession: Bool {
        switch self {
        case .detach, .kill: true
        default: false
        }
    }
}
