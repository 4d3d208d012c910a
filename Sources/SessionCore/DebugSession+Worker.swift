import GDBRemote
import GuestModel
import WireProtocol

extension DebugSession {
    /// Takes a message of the worker.
    mutating func workerSaid(_ message: DebugReply) {
        switch message {
        case .stopped(let event): guestStopped(event)
        case .ended(let end): guestEnded(end)
        case .done, .refused, .attached, .memory, .extendedState, .region, .report:
            guard unansweredRemovals == 0 else { return removalAnswered(by: message) }
            guard let request = outstanding else {
                // Only a resume goes without a reply of its own; a refusal of it ends the wait.
                if case .refused(let refusal) = message, guest == .running {
                    return resumeRefused(refusal)
                }
                return workerMisbehaved()
            }
            outstanding = nil
            deadlines.request = nil
            answered(request, by: message)
            afterReply()
        }
    }

    private mutating func removalAnswered(by message: DebugReply) {
        unansweredRemovals -= 1
        switch message {
        case .done: break
        // The client takes it for gone, and will be told of a hit as of any other trap.
        case .refused(let refusal):
            actions.append(.log(.error, "the worker kept a breakpoint: \(refusal)"))
        default: workerMisbehaved()
        }
    }

    private mutating func answered(_ request: OutstandingRequest, by message: DebugReply) {
        switch (request, message) {
        case (.abandoned, _): break
        case (.attach, .attached(let facts)): self.facts = facts
        case (.attach, .refused(let refusal)):
            guest = .detached
            // With a planned detach it was an earlier client that this session was for.
            guard plannedDetach == nil else { return }
            closeClient("the worker refused the session: \(refusal)")
        case (.detach(let followUp), _): finishDetach(followUp)
        case (.memory(let form), .memory(let bytes)):
            let features = features
            reply { $0.packet(memory: bytes.span, form: form, for: features) }
        case (.checksum(var checksum), .memory(let bytes)):
            if checksum.add(bytes) { readOn(checksum) } else { reply(.notMapped) }
        case (.search(let search), .memory(let bytes)): searched(search, bytes)
        case (.insertion(let removal), .done):
            removals.noteInsertion(undoneBy: removal)
            reply("OK")
        case (.memoryWrite, .done), (.removal, .done): reply("OK")
        case (.region, .region(let region)): reply { $0.packet(region) }
        case (.report, .report(let text)): reply(lines: text.lines)
        case (.report, .refused(let refusal)):
            replyMistake((refusal.text ?? refusal.error.text) + "\n")
        case (.restart(let wantsReply), .done): restarted(wantsReply)
        case (.restart(wantsReply: false), .refused): break
        case (.registerWrite(let state, let mode), .done): registersWritten(state, then: mode)
        case (.stateWrite(let state, let extended), .done): stateWritten(state, extended)
        case (.extendedState(let command), .extendedState(let state)):
            lacksExtendedState = state == nil
            extendedStateCame(state, for: command)
        case (.extendedState(let command), .refused):
            extendedStateCame(nil, for: command)
        case (_, .refused(let refusal)): reply(refusal.error, text: refusal.text)
        default:
            workerMisbehaved()
            if request.hasClientWaiting { reply(.workerGone) }
        }
    }

    /// What had to wait for the reply.
    private mutating func afterReply() {
        if let planned = plannedDetach, outstanding == nil {
            plannedDetach = nil
            detach(planned.mode, then: planned.followUp)
        }
        attachIfWanted()
        serveWaiting()
        exitIfDone()
    }

    /// The guest is loaded anew; it will stop at its entry point.
    private mutating func restarted(_ wantsReply: Bool) {
        guard case .stopped = guest else { return }
        removals = HeldRemovals()
        guest = wantsReply ? .running : .attaching
        deadlines.halt = Deadlines.Halt(
            repeatAt: now + Deadlines.haltTime, giveUpAt: now + Deadlines.haltTime)
    }

    private mutating func registersWritten(_ state: VCPUState, then mode: ResumeMode?) {
        if case .stopped(var stopped) = guest {
            stopped.state = state
            guest = .stopped(stopped)
        }
        if let mode { run(mode) } else { reply("OK") }
    }

    private mutating func stateWritten(_ state: VCPUState, _ extended: ExtendedState?) {
        if case .stopped(var stopped) = guest {
            stopped.state = state
            if let extended { stopped.extended = .known(extended) }
            guest = .stopped(stopped)
        }
        reply("OK")
    }

    private mutating func extendedStateCame(_ state: ExtendedState?, for command: Command?) {
        if case .stopped(var stopped) = guest {
            stopped.extended = .known(state)
            guest = .stopped(stopped)
        }
        if let command, client != .none { perform(command) }
    }

    // MARK: - Events

    private mutating func guestStopped(_ event: StopEvent) {
        let wasRunning: Bool
        switch guest {
        case .running: wasRunning = true
        case .attaching: wasRunning = false
        // It crossed with our detach.
        case .detached: return
        case .stopped, .ended, .lost: return workerMisbehaved()
        }
        deadlines.halt = nil
        var stopped = StoppedGuest(event)
        if lacksExtendedState { stopped.extended = .known(nil) }
        guest = .stopped(stopped)
        if plannedDetach != nil || client == .none { return }
        if wasRunning { reply(.stopped(event.reason), after: stopped.crash) }
        serveWaiting()
        readAhead()
    }

    /// Asks for what a client that looks at all registers will want next.
    private mutating func readAhead() {
        guard readsExtendedState, !lacksExtendedState, outstanding == nil, case .stopped = guest
        else { return }
        readsExtendedState = false
        // The client need not wait for this.
        flush()
        send(.readExtendedState, as: .extendedState(nil))
    }

    private mutating func guestEnded(_ end: GuestEnd) {
        let report: StopReply =
            switch end {
            case .finished: .exited(code: 0)
            case .crashed(let crash): .killed(signal: crash.signal)
            case .killed: .killed(signal: StopReply.Signal.kill)
            }
        dropRequest()
        guard client != .none else {
            guest = .detached
            return
        }
        if guest == .running {
            // A crash that the client was held at is no news to it.
            reportEnd(report, after: resumedCrash == nil ? end.crash : nil)
        } else {
            guest = .ended(report)
        }
        serveWaiting()
    }

    private mutating func resumeRefused(_ refusal: DebugRefusal) {
        guard refusal == .crashed, let crash = resumedCrash else {
            actions.append(.log(.error, "the worker refused to resume: \(refusal)"))
            return closeClient("the guest could not be resumed")
        }
        deadlines.halt = nil
        reportEnd(.killed(signal: crash.signal))
        serveWaiting()
    }

    /// The worker's socket has ended.
    mutating func workerLost() {
        guard !isWorkerLost else { return }
        isWorkerLost = true
        dropRequest()
        switch guest {
        case .ended: break
        case .running: reportEnd(.killed(signal: StopReply.Signal.kill))
        case .attaching, .stopped, .detached: guest = .lost
        case .lost: break
        }
        serveWaiting()
        exitIfDone()
    }

    /// Ends the wait for a reply that will not come.
    private mutating func dropRequest() {
        let request = outstanding
        let planned = plannedDetach
        outstanding = nil
        plannedDetach = nil
        removals = HeldRemovals()
        unansweredRemovals = 0
        deadlines.request = nil
        deadlines.halt = nil
        if let planned {
            guest = .detached
            finishDetach(planned.followUp)
        }
        guard let request else { return }
        if case .detach(let followUp) = request {
            finishDetach(followUp)
        } else if request.hasClientWaiting {
            reply(.workerGone)
        }
    }

    private mutating func workerMisbehaved() {
        actions.append(.log(.error, "the worker said something unexpected"))
        // Whoever cannot be understood cannot be told to let the guest go either.
        actions.append(.closeWorker)
        workerLost()
    }
}

extension DebugRefusal {
    fileprivate var error: ErrorReply {
        switch self {
        case .notMapped: .notMapped
        case .noFreeDebugRegister: .noFreeDebugRegister
        case .running: .busy
        case .crashed: .notWritable
        case .notSupported: .notSupported
        case .invalid: .malformed
        case .tooManyBreakpoints: .commandFailed
        case .readOnly: .notWritable
        }
    }

    fileprivate var text: String? {
        switch self {
        case .crashed: "the guest crashed and can only be read"
        case .tooManyBreakpoints: "too many software breakpoints"
        case .readOnly: "debug.access of this sandbox is read-only"
        case .notMapped, .noFreeDebugRegister, .running, .notSupported, .invalid: nil
        }
    }
}

extension GuestEnd {
    fileprivate var crash: GuestCrash? {
        if case .crashed(let crash) = self { crash } else { nil }
    }
}

extension String {
    /// Its lines, each with its line end.
    fileprivate var lines: [String] {
        var lines = split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines.map { $0 + "\n" }
    }
}
