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
    /// Nil when nobody may start the guest anew.
    let image: KeptImage?
    let driver: DriverName
    var ports: GuestPorts
    /// The registers that an exception met whose report has begun and is not complete.
    var exceptionFrame: ExceptionFrame?
    var exits = ExitHistory()
    let startTime = monotonicNanoseconds()
    /// How the guest was entered last.
    var runMode = RunMode.continue
    var reporter = StateReporter()
    var waiting = PollSet([-1, -1, -1])
    var exitRequested = false

    init(
        guest: Guest, image: KeptImage?, driver: DriverName, settings: WorkerSettings,
        supervisor: SupervisorLink, debug: DebugLink
    ) {
        self.guest = guest
        self.image = image
        self.driver = driver
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

    var isRunning: Bool {
        if case .running = activity { true } else { false }
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
        if breakpoints.stops(at: rip, in: guest) {
            step()
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

    enum RunOutcome {
        case handled
        case interrupted
    }

    /// Enters the guest once and deals with why it came back.
    @discardableResult
    func execute(_ mode: RunMode) -> RunOutcome {
        do throws(HypervisorError) {
            return try handle(try enter(mode))
        } catch {
            crash(error)
            return .handled
        }
    }

    /// Enters the guest once; an instruction to step over is executed although a breakpoint is there.
    func enter(_ mode: RunMode) throws(HypervisorError) -> VMExit {
        runMode = mode
        let isHalt = mode == .step && guest.vcpu.keepsSteppedHalts && isHalt(at: rip)
        let driverMode = isHalt ? .continue : mode
        let exit: VMExit
        if mode == .step, breakpoints.stops(at: rip, in: guest) {
            exit = try breakpoints.withoutBreakpoint(at: rip, in: guest) {
                () throws(HypervisorError) in try guest.vcpu.run(driverMode)
            }
        } else {
            exit = try guest.vcpu.run(driverMode)
        }
        exits.note(exit, mode)
        return exit
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
