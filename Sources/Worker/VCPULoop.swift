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
    private let supervisor: SupervisorLink
    private let debug: DebugLink
    private var ports: GuestPorts
    private var reporter = StateReporter()
    private var waiting = PollSet([-1, -1, -1])
    private var exitRequested = false

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

    private enum RunOutcome {
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

    private func handle(_ exit: VMExit) throws(HypervisorError) -> RunOutcome {
        switch exit {
        case .interrupted: return .interrupted
        case .debug(.step): try guest.refreshState()
        case .portWrite(let port, let size, let value):
            try handlePort(port, size: size, value: value)
        case .halted:
            try guest.refreshState()
            guestHalted()
        case .debug(.hardwareBreakpoint(let address)):
            try stopAfterRefresh(.hardwareBreakpoint(address))
        case .debug(.softwareBreakpoint(let address)):
            if breakpoints.kind(at: address) == .software {
                try stopAfterRefresh(.softwareBreakpoint(address))
            } else {
                try trapOfTheGuest(at: address)
            }
        case .debug(.guest): try stopAfterRefresh(.guestTrap)
        case .portUnsupported(let port): try crashAfterRefresh(.unexpectedPort(port))
        case .memory(let address, let access):
            try crashAfterRefresh(.unmappedAccess(address, access))
        case .fetchUnmapped(let address): try crashAfterRefresh(.unmappedFetch(address))
        case .shutdown: try crashAfterRefresh(.tripleFault)
        case .unsupportedInstruction(let bytes):
            try crashAfterRefresh(.unsupportedInstruction(bytes: bytes))
        case .failed(let text): try crashAfterRefresh(.driverFailure(text))
        }
        return .handled
    }

    private func handlePort(_ port: UInt16, size: UInt8, value: UInt32) throws(HypervisorError) {
        let effect = ports.handle(port: port, size: size, value: value, memory: guest.memory)
        switch effect {
        case .none: break
        case .output(let text): supervisor.send(.output(text))
        case .log(let level, let text): supervisor.send(.log(level, text))
        case .halt:
            try guest.refreshState()
            guestHalted()
            return
        case .crash(let crash):
            try crashAfterRefresh(crash)
            return
        }
        // A step ends here: the OUT was its one instruction.
        if case .running(.free) = activity { return }
        try guest.refreshState()
    }

    /// The guest said that it is done: for good, or with its initialisation.
    private func guestHalted() {
        switch settings.abi {
        case .bare: activity = .ended(.finished)
        case .hyperlight:
            flushOutput()
            guard guest.state.general.rsp % 16 == 0 else {
                return crash(.protocolViolation("stack pointer not a multiple of 16 when ready"))
            }
            activity = settings.endsWhenReady ? .ended(.finished) : .ready
            reportState(now: true)
        }
    }

    private func isHalt(at address: GuestVirtualAddress) -> Bool {
        guard let place = guest.physicalAddress(of: address), let byte = guest.byte(at: place)
        else {
            return false
        }
        var bytes = [byte]
        breakpoints.hide(in: &bytes, readAt: address)
        return bytes == [0xF4]
    }

    // MARK: Stopping

    var rip: GuestVirtualAddress { GuestVirtualAddress(guest.state.general.rip) }

    private func stopAfterRefresh(_ reason: StopReason) throws(HypervisorError) {
        try guest.refreshState()
        guard isClientAttached else {
            // Nobody set a breakpoint, so the trap is the guest's own, and it has nobody to catch it.
            return crash(.protocolViolation("debug trap without a debugger"))
        }
        stop(reason)
    }

    /// The guest executed an `int3` of its own.
    ///
    /// The client sees RIP behind it, as after any trap, so that continuing goes on.
    private func trapOfTheGuest(at address: GuestVirtualAddress) throws(HypervisorError) {
        try guest.refreshState()
        guard isClientAttached else {
            return crash(.protocolViolation("int3 without a debugger"))
        }
        var registers = guest.state.general
        registers.rip = address.rawValue &+ 1
        try guest.write(registers)
        stop(.guestTrap)
    }

    private func crashAfterRefresh(_ reason: GuestCrash) throws(HypervisorError) {
        try guest.refreshState()
        crash(reason)
    }

    private func crash(_ error: HypervisorError) {
        crash(.driverFailure("\(error)"))
    }

    private func crash(_ reason: GuestCrash) {
        flushOutput()
        guard isClientAttached else {
            activity = .ended(.crashed(reason))
            return
        }
        stop(.crashed(reason))
    }

    /// Stands still and tells the client.
    func stop(_ reason: StopReason, vcpu: VCPUWork = .executing) {
        activity = .stopped(reason, vcpu: vcpu)
        guard isClientAttached else { return }
        send(.stopped(stopEvent(reason)))
    }

    // MARK: Sockets

    /// Waits until a socket has something, at most so long; answers how many have.
    private func poll(milliseconds: Int32) -> Int {
        waiting.watch(debug.connectionDescriptor, at: 0)
        waiting.watch(supervisor.descriptor, at: 1)
        waiting.watch(debug.listenerDescriptor, at: 2)
        return waiting.wait(milliseconds: milliseconds)
    }

    private func waitForInput() {
        let ready = poll(milliseconds: waitMilliseconds)
        if ready == 0 {
            reportState(now: true)
        } else if waiting.isReadable(1) || waiting.isReadable(2) {
            _ = serveAll()
        } else {
            // One request is outstanding at a time: looking for a second one is a call for nothing.
            _ = serveOneRequest()
        }
        releaseIfWaitedLongEnough()
    }

    /// How long to wait for input: for ever, unless something is to be said or done later.
    private var waitMilliseconds: Int32 {
        if case .held(let deadline?) = activity {
            let now = monotonicNanoseconds()
            return deadline <= now ? 0 : Int32(clamping: (deadline - now - 1) / 1_000_000 + 1)
        }
        return reporter.isDue(activity.sandboxState) ? StateReporter.delayMilliseconds : -1
    }

    private func releaseIfWaitedLongEnough() {
        guard case .held(let deadline?) = activity, monotonicNanoseconds() >= deadline else {
            return
        }
        supervisor.send(.log(.info, "no debugger came in time; the guest runs on"))
        activity = .running(.free)
    }

    /// Serves what has come on any socket, without waiting; true when there may be more.
    private func serveInput() -> Bool {
        poll(milliseconds: 0) > 0 && serveAll()
    }

    private func serveAll() -> Bool {
        serveSupervisor()
        if debug.acceptStub() { clientLost("a new stub took over") }
        return serveDebug()
    }

    private func serveSupervisor() {
        while !exitRequested {
            switch supervisor.nextOrder() {
            case .nothing: return
            case .message(.stop): exitRequested = true
            case .message(.resume): resumeByOrder()
            case .message(.start): break
            case .ended: exitRequested = true
            }
        }
    }

    /// Requests served in one turn: a stub that never pauses must not keep the supervisor out.
    private static let requestsPerTurn = 64

    /// Serves a stub's requests; true when there may be more.
    private func serveDebug() -> Bool {
        for _ in 0..<Self.requestsPerTurn {
            guard serveOneRequest() else { return false }
            // The guest runs now: whatever follows is looked at from there.
            if case .running = activity { return true }
        }
        return true
    }

    /// Serves one request; false when there was none.
    private func serveOneRequest() -> Bool {
        switch debug.nextRequest() {
        case .nothing: return false
        case .ended(let reason):
            debug.close()
            clientLost(reason)
            return false
        case .message(let request):
            handle(request)
            return true
        }
    }

    func send(_ reply: DebugReply) {
        guard !debug.send(reply) else { return }
        debug.close()
        clientLost("the stub does not read")
    }

    private func flushOutput() {
        guard let text = ports.flush() else { return }
        supervisor.send(.output(text))
    }

    func log(_ level: LogLevel, _ text: String) {
        supervisor.send(.log(level, text))
    }

    /// Tells the supervisor what the guest does: at once, or when it has done so for a while, so that
    /// a stepping debugger costs no frames.
    private func reportState(now: Bool) {
        guard let state = reporter.report(activity.sandboxState, now: now) else { return }
        if !supervisor.report(state, activity.text) { reporter.reportWasLost() }
    }
}
