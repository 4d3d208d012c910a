import GDBRemote
import GuestModel
import WireProtocol

extension DebugSession {
    /// Does one command now: nothing it needs is missing.
    mutating func perform(_ command: Command) {
        switch command {
        case .unsupported: reply("")
        case .supportedFeatures(let features): offerFeatures(features)
        case .startNoAckMode:
            reply("OK")
            acknowledges = false
            lastReply = []
        case .symbolLookupOffer: reply("OK")
        case .extendedMode:
            isExtended = true
            reply("OK")
        case .enable(let features):
            self.features.formUnion(features)
            reply("OK")
        case .echo(let text): replyEcho(text)
        case .hostDescription:
            features.insert(.lldb)
            reply { $0.hostDescription() }
        case .processDescription:
            let identity = identity
            reply { $0.processDescription(identity) }
        case .watchpointCount: reply("num:\(hardwareBreakpointsMax);")
        case .currentThread: replyThread(prefix: "QC")
        case .firstThreads: replyThread(prefix: "m")
        case .moreThreads: reply("l")
        case .threadDescription(let thread): describe(thread)
        case .selectThread(let thread), .isThreadAlive(let thread):
            if identity.matches(thread) { reply("OK") } else { reply(.noSuchThread) }
        case .isAttached: reply("1")
        case .resumeActions: reply("vCont;c;C;s;S;r")
        case .readObject(let object, let offset, let byteCount):
            replyObject(object, offset: offset, byteCount: byteCount)
        case .file(let command): perform(command)
        case .unknownAnnex: reply(.unknownAnnex)
        case .monitor(let text): monitor(text)
        case .sectionOffsets: replyOffsets()
        case .detach(let process, let staysStopped):
            performDetach(process: process, staysStopped: staysStopped)
        case .kill(let wantsReply): performKill(wantsReply: wantsReply)
        case .stopReason, .threadStopReason, .threadsInJSON, .attach, .restart, .readRegisters,
            .writeRegisters, .readRegister, .writeRegister, .saveRegisters, .restoreRegisters,
            .readMemory, .writeMemory, .checksumMemory, .searchMemory, .describeRegion,
            .insertBreakpoint, .removeBreakpoint, .insertWatchpoint, .removeWatchpoint, .resume:
            performOnGuest(command)
        }
    }

    // MARK: - Without the guest

    private mutating func offerFeatures(_ features: ClientFeatures) {
        // lldb asks twice, with what it turned on in between.
        self.features = features.union(self.features.intersection(.enabledLater))
        var offer = "PacketSize=20000;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+"
        if symbolFile != nil { offer += ";qXfer:exec-file:read+" }
        offer += ";vContSupported+;swbreak+;hwbreak+;error-message+;binary-upload+;qEcho+"
        if features.contains(.multiprocess) { offer += ";multiprocess+" }
        reply(offer)
    }

    private mutating func replyThread(prefix: String) {
        let (identity, features) = (identity, features)
        reply { encoder in
            encoder.start()
            encoder.append(prefix)
            encoder.append(threadOf: identity, features)
            encoder.finish()
        }
    }

    private mutating func describe(_ thread: ThreadID) {
        guard identity.matches(thread) else { return reply(.noSuchThread) }
        let text: [UInt8] = Array("vCPU 0 (\(guest.word))".utf8)
        reply { encoder in
            encoder.start()
            encoder.append(hex: text.span)
            encoder.finish()
        }
    }

    /// For resynchronising after a client lost patience.
    private mutating func replyEcho(_ text: [UInt8]) {
        reply { encoder in
            encoder.start()
            encoder.append("qEcho:")
            encoder.append(escaping: text.span)
            encoder.finish()
        }
    }

    private mutating func monitor(_ text: [UInt8]) {
        switch MonitorCommand(text) {
        case .help: reply(lines: MonitorCommand.helpLines)
        case .memory(let isPhysical):
            readsPhysicalMemory = isPhysical
            let space = isPhysical ? "physical" : "virtual"
            reply(lines: ["addresses are \(space) now\n"])
        case .inspect(let inspection):
            guard stoppedGuest != nil, outstanding != .abandoned else {
                return performOnGuest(.monitor(text))
            }
            send(.inspect(inspection), as: .report)
        case .mistake(let words): replyMistake(words)
        }
    }

    /// Words for the user, because gdb shows none of a failed `monitor` command's own.
    mutating func replyMistake(_ words: String) {
        let features = features
        reply { encoder in
            encoder.packet(output: words)
            encoder.packet(.commandFailed, for: features)
        }
    }

    /// Lines for the client's user, then `OK`.
    mutating func reply(lines: [some StringProtocol]) {
        reply { encoder in
            for line in lines { encoder.packet(output: String(line)) }
            encoder.packet("OK")
        }
    }

    /// lldb wants to know how far the image was moved, gdb the address of its first segment.
    private mutating func replyOffsets() {
        guard let facts else { return reply(.workerGone) }
        let address =
            features.contains(.lldb)
            ? facts.loadBias : facts.loadBias &+ facts.firstSegmentAddress
        reply { encoder in
            encoder.start()
            encoder.append("TextSeg=")
            encoder.append(number: address)
            encoder.finish()
        }
    }

    // MARK: - The end of a session

    private mutating func performDetach(process: UInt64?, staysStopped: Bool) {
        if let process, process != identity.process { return reply(.noSuchThread) }
        detach(staysStopped ? .leaveStopped : .asConfigured, then: .replyDone)
    }

    private mutating func performKill(wantsReply: Bool) {
        let isGDB = features.contains(.relocateInstruction)
        detach(.kill, then: wantsReply ? .replyDone : isGDB ? .close : .replyKilled)
    }

    /// Lets the guest go, now or after the worker's next reply.
    mutating func detach(_ mode: DetachMode, then followUp: DetachFollowUp) {
        deadlines.halt = nil
        switch guest {
        case .detached, .ended, .lost:
            finishDetach(followUp)
            return
        case .attaching, .stopped, .running: break
        }
        switch outstanding {
        case nil:
            send(.detach(mode), as: .detach(followUp))
            guest = .detached
        case .attach, .memory, .checksum, .search, .memoryWrite, .registerWrite, .stateWrite,
            .insertion, .removal, .extendedState, .region, .report, .restart, .abandoned:
            plannedDetach = PlannedDetach(mode: mode, followUp: followUp)
            deadlines.request = now + Deadlines.requestTime
        case .detach: break
        }
    }

    /// The worker has let the guest go (or there was nothing to let go).
    mutating func finishDetach(_ followUp: DetachFollowUp) {
        if client == .talking {
            switch followUp {
            case .nothing: break
            case .replyDone: reply("OK")
            case .replyKilled: reply(.killed(signal: StopReply.Signal.kill))
            case .close: break
            }
            if followUp != .nothing {
                // Another packet of the same client begins a session anew. A silent one holds no
                // door, so one that said it would stay may take its time.
                client = .silent
                savedRegisters = []
                deadlines.client = isExtended ? nil : now + Deadlines.silenceTime
                actions.append(.reportDetached(reason: "detached by the client"))
            }
            if followUp == .close { closeClient("killed by the client") }
        }
        exitIfDone()
    }

    // MARK: - Requests

    mutating func send(_ request: DebugRequest, as outstanding: OutstandingRequest) {
        tellWorker(request)
        self.outstanding = outstanding
        deadlines.request = now + Deadlines.requestTime
    }

    /// Sends `request` behind the removals that waited for it.
    mutating func tellWorker(_ request: DebugRequest) {
        let due = removals.release(for: request)
        unansweredRemovals += due.count
        actions += (due + [request]).map(Action.sendToWorker)
    }

    /// Begins a session when a client talks and no session is there.
    mutating func attachIfWanted() {
        guard client == .talking, guest == .detached, outstanding == nil, !isWorkerLost else {
            return
        }
        send(.attach, as: .attach)
        guest = .attaching
        facts = nil
        removals = HeldRemovals()
        deadlines.halt = Deadlines.Halt(
            repeatAt: now + Deadlines.haltTime, giveUpAt: now + Deadlines.haltTime)
    }
}

extension DebugSession.Guest {
    /// One word for people.
    fileprivate var word: String {
        switch self {
        case .detached, .attaching, .running: "running"
        case .stopped(let stopped): stopped.isCrashed ? "crashed" : "stopped"
        case .ended: "ended"
        case .lost: "lost"
        }
    }
}
