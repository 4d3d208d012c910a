import GuestABI
import GuestModel
import Hypervisor
import LinuxSystem
import WireProtocol

/// The worker's main loop: serves its two sockets while the guest stands, runs it otherwise.
///
/// This is the only place that calls the driver's `run`.
final class VCPULoop {
    let guest: Guest
    let settings: WorkerSettings
    var activity: Activity
    var breakpoints = BreakpointTable()
    var isClientAttached = false
    let supervisor: SupervisorLink
    let debug: DebugLink
    var ports: GuestPorts
    var reporter = StateReporter()
    var waiting = PollSet([-1, -1, -1])
    var exitRequested = false

    init(
        guest: Guest, settings: WorkerSettings, supervisor: SupervisorLink,
        debug: DebugLink
    ) {
        self.guest = guest
        self.settings = settings
        self.supervisor = supervisor
        self.debug = debug
        ports = GuestPorts(io: guest.plan.io)
        activity = .running(.free)
        if settings.holdsForClient {
            let timeout = settings.waitTimeoutMilliseconds
            activity = .held(
                deadline: timeout == 0 ? nil : Self.deadline(afterMilliseconds: timeout))
        }
    }

    /// The time that many milliseconds from now; a time too far to count is the last there is.
    private static func deadline(afterMilliseconds milliseconds: UInt64) -> UInt64 {
        let (duration, isTooLong) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let (deadline, isTooFar) = monotonicNanoseconds().addingReportingOverflow(duration)
        return isTooLong || isTooFar ? .max : deadline
    }

    /// Where the guest stands; not valid while it runs.
    var rip: GuestVirtualAddress { GuestVirtualAddress(guest.state.general.rip) }

    /// Runs until the guest has ended or the supervisor wants the end.
    func run() -> WorkerExit {
        reportState(now: true)
        while !exitRequested {
            switch activity {
            case .running(.free): runFreely()
            case .running(.step): runStep()
            case .running(.range(let start, let end)): runRange(start, end)
            case .held, .stopped, .ready: waitForInput()
            case .ended(let end): return finish(end)
            }
        }
        return finish(.killed)
    }

    private func finish(_ end: GuestEnd) -> WorkerExit {
        flushOutput()
        if isClientAttached { _ = debug.send(.ended(end)) }
        supervisor.report(Activity.ended(end).sandboxState, end.text)
        switch end {
        case .finished, .killed: return .finished
        case .crashed: return .guestCrashed
        }
    }

    // MARK: Running

    /// Runs without a goal of its own: until a breakpoint, an interrupt, a crash or the end.
    private func runFreely() {
        // Guest code at a breakpoint that the client set earlier: one instruction without it first.
        if breakpoints.contains(rip) {
            executeOneInstruction()
            guard case .running(.free) = activity else { return }
        }
        debug.setKickEnabled(true)
        defer { debug.setKickEnabled(false) }
        reporter.runStarted(at: activity.sandboxState)
        var mustLook = true
        while case .running(.free) = activity, !exitRequested {
            if mustLook {
                // In this order no kick is lost: one that comes later ends the run at once.
                guest.vcpu.clearKick()
                mustLook = serveInput()
                reportState(now: false)
                continue
            }
            mustLook = execute(.continue) == .interrupted
        }
    }

    private func runStep() {
        executeOneInstruction()
        guard case .running(.step) = activity else { return }
        stop(.stepped)
    }

    /// Steps while RIP stays in [start, end).
    private func runRange(_ start: GuestVirtualAddress, _ end: GuestVirtualAddress) {
        var steps = 0
        while case .running(.range) = activity, !exitRequested {
            executeOneInstruction()
            guard case .running(.range) = activity else { return }
            if let kind = breakpoints.kind(at: rip) { return stop(.breakpoint(kind, rip)) }
            guard rip >= start, rip < end else { return stop(.stepped) }
            steps += 1
            if steps.isMultiple(of: Self.stepsBetweenLooks) { _ = serveInput() }
        }
    }

    /// Executes exactly one instruction, which a kick may delay but not prevent.
    ///
    /// A kick needs new input on a socket, and none is read here, so the attempts are bounded.
    private func executeOneInstruction() {
        let isHalt = isHalt(at: rip)
        repeat { guest.vcpu.clearKick() } while execute(.step) == .interrupted
        // Not every driver says so when it was a HLT that it stepped over.
        if isHalt, case .running = activity { guestHalted() }
    }

    /// Steps of a range step between two looks at the sockets: at 9 us a step about 0.3 ms.
    private static let stepsBetweenLooks = 32

    enum RunOutcome {
        case handled
        case interrupted
    }

    /// Enters the guest once and deals with why it came back.
    @discardableResult
    private func execute(_ mode: RunMode) -> RunOutcome {
        do throws(HypervisorError) {
            let exit: VMExit
            if mode == .step, breakpoints.contains(rip) {
                exit = try breakpoints.withoutBreakpoint(at: rip, in: guest) {
                    () throws(HypervisorError) in try guest.vcpu.run(.step)
                }
            } else {
                exit = try guest.vcpu.run(mode)
            }
            return try handle(exit)
        } catch {
            crash(error)
            return .handled
        }
    }

    // MARK: Talking

    func send(_ reply: DebugReply) {
        guard !debug.send(reply) else { return }
        debug.close()
        clientLost("the stub does not read")
    }

    func flushOutput() {
        guard let text = ports.flush() else { return }
        supervisor.send(.output(text))
    }

    func log(_ level: LogLevel, _ text: String) {
        supervisor.send(.log(level, text))
    }

    /// Tells the supervisor what the guest does: at once, or when it has done so for a while, so that
    /// a stepping debugger costs no frames.
    func reportState(now: Bool) {
        guard let state = reporter.report(activity.sandboxState, now: now) else { return }
        if !supervisor.report(state, activity.text) { reporter.reportWasLost() }
    }
}
