import GuestModel
import Jail
import LinuxSystem
import Logging
import SandboxConfig
import WireProtocol

/// One sandbox as the supervisor knows it: its state, its two children and its debug door.
///
/// The life of its worker is in `Sandbox+Worker.swift`, that of its stub in `Sandbox+Stub.swift`, and
/// what the control API asks of it in `Sandbox+Control.swift`.
final class Sandbox {
    let settings: SandboxSettings
    let index: Int
    let paths: SandboxPaths
    let launcher: ChildLauncher
    let drivers: DriverCatalogue
    let jail: SandboxJail
    let log: Logger
    var voices: SandboxLog
    private(set) var condition: SandboxCondition
    var driver: ChosenDriver?
    /// How many workers there were.
    var generation = 0
    /// Whether the next guest waits for a client, if the configuration says so: only one that somebody
    /// asked for, since nobody may be there for one that comes back by itself.
    var holdsGuest = true
    var worker = WorkerPost()
    var workerHistory: RestartHistory
    var door = DebugDoor()
    /// Why the door was closed although a guest is there.
    var doorProblem: String?
    var stub = StubPost()
    /// What the stubs of the present worker read to clients.
    var symbols: SymbolFile?

    init(
        _ settings: SandboxSettings, index: Int, paths: SandboxPaths, launcher: ChildLauncher,
        drivers: DriverCatalogue, jail: SandboxJail, log: Logger
    ) {
        self.settings = settings
        self.index = index
        self.paths = paths
        self.launcher = launcher
        self.drivers = drivers
        self.jail = jail
        self.log = log
        voices = SandboxLog(log, name: settings.name)
        workerHistory = RestartHistory(RestartPolicy(settings.restart))
        condition = SandboxCondition(
            settings.isEnabled ? .starting : .disabled, since: wallClock().seconds)
    }

    var name: SandboxName { settings.name }

    /// Enters a state for a reason, and tells of it.
    ///
    /// What a worker reported goes on its share of the log: it could alternate for ever.
    func enter(_ new: SandboxState, _ text: String, reported: Bool = false) {
        let old = condition.state
        guard condition.enter(new, text, at: wallClock().seconds) else { return }
        let level: Logger.Level = SandboxCondition.isTrouble(new) ? .error : .info
        let record = "\(old.rawValue) -> \(new.rawValue)" + (text.isEmpty ? "" : ": \(text)")
        guard reported else {
            return log.log(
                level: level, "sandbox.state", sandbox: name, record, fields: stateFields)
        }
        voices.take(
            record, .processes, event: "sandbox.state", level: level, fields: stateFields)
    }

    private var stateFields: [(String, String)] {
        var fields: [(String, String)] = []
        if let child = worker.child { fields.append(("worker", String(child.processID))) }
        if let driver { fields.append(("driver", driver.name.rawValue)) }
        if let address = door.address { fields.append(("gdb", address)) }
        return fields
    }

    // MARK: Turn of the loop

    /// What to wait for input on.
    var workerDescriptors: [Int32] { worker.child?.descriptors ?? [] }
    var stubDescriptors: [Int32] { stub.child?.descriptors ?? [] }

    /// When something is to be done although nothing came.
    var nextDeadline: UInt64? {
        [worker.nextDeadline, stub.nextDeadline, voices.nextReport].compactMap { $0 }.min()
    }

    private func isDue(at now: UInt64) -> Bool { nextDeadline.map { $0 <= now } ?? false }

    /// Whether no process of this sandbox lives, and none is to come.
    var isQuiet: Bool { worker.child == nil && worker.nextStart == nil && stub.child == nil }

    /// Does what input or the time asks for; a child that said nothing costs no call.
    func serve(now: UInt64, workerIsReady: Bool, stubIsReady: Bool) {
        let isDue = isDue(at: now)
        if workerIsReady || isDue { serveWorker(now: now) }
        // A dead worker makes its stub superfluous, so both are looked at.
        if stubIsReady || workerIsReady || isDue { serveStub(now: now) }
        if isDue { voices.report(at: now) }
        if isQuiet { settle() }
    }

    /// Nothing lives and nothing is to come, so nobody needs the door any more.
    ///
    /// Not before: a stub has copies of its listening sockets until it ends, and nobody else could
    /// bind the port.
    func settle() {
        closeDoor()
        if condition.state == .stopping { enter(.stopped, "") }
    }

    // MARK: What both children have in common

    /// A process may have left its output to another one, which goes on.
    static let lastTurnsMax = 16

    func accepts(_ hello: Hello, of role: String, _ child: Child) -> Bool {
        guard hello.protocolVersion == WireLimits.protocolVersion, hello.buildID == buildID else {
            log.error(
                "\(role).mismatch", sandbox: name,
                "\(role) speaks protocol \(hello.protocolVersion) of build \(hello.buildID), "
                    + "the supervisor \(WireLimits.protocolVersion) of build \(buildID); refused")
            child.kill()
            return false
        }
        return true
    }

    /// Why a child may not begin, or nil; one that may not is killed.
    func refusal(of child: Child, _ role: String, _ report: ConfinementReport) -> JailRefusal? {
        let verdict = child.jail.verdict(
            on: child.processID, report: report, required: jail.required)
        let refusal =
            verdict ?? (child.hearsViolations() ? nil : .mismatch(["no listener of its filter"]))
        guard let refusal else {
            log.debug(
                "\(role).confined", sandbox: name,
                "\(role) \(child.processID) in \(child.ageMicroseconds) us")
            for missing in child.jail.missing {
                log.warning(
                    "isolation.missing", sandbox: name,
                    "\(role) without \(missing.measure.rawValue): \(missing.text)")
            }
            return nil
        }
        log.error(refusal.event, sandbox: name, "\(role): \(refusal)")
        child.kill()
        return refusal
    }

    /// The child waits for an answer that never comes.
    func violated(_ child: Child, _ role: String, _ call: ForbiddenCall) {
        log.error(
            "seccomp.violation", sandbox: name, "the \(role) made \(call); it is killed")
        child.kill()
    }

    /// Asks a child for a sign of life; false when it has given none for so long that it was killed.
    func keepAlive(
        _ child: Child, _ role: String, now: UInt64, ping: (UInt32) -> some WireMessage
    ) -> Bool {
        guard !child.isLost else { return true }
        switch child.heartbeat.beat(at: now) {
        case .nothing, .recovered: return true
        case .ask(let number):
            // A socket that is full is answered no sooner than a child that stands still.
            child.send(ping(number))
            return true
        case .warn:
            log.warning(
                "\(role).unresponsive", sandbox: name, "the \(role) has not answered for 5 s")
            return true
        case .kill where jail.profile == .developer:
            // Somebody may be looking into it with a debugger.
            return true
        case .kill:
            log.error(
                "\(role).unresponsive", sandbox: name,
                "the \(role) has not answered for 10 s; it is killed")
            child.kill()
            return false
        }
    }

    func hearPong(_ number: UInt32, of child: Child, _ role: String) {
        guard child.heartbeat.answered(number, at: monotonicNanoseconds()) == .recovered else {
            return
        }
        log.info("\(role).responsive", sandbox: name, "the \(role) answers again")
    }

    // MARK: End

    /// Asks both children to end, the stub first; nothing comes back.
    func stop() {
        worker.afterEnd(.stop)
        guard worker.child == nil else { return leave("") }
        worker.leaveVacant()
        stub.leave()
        guard ![.disabled, .failed, .finished, .stopped].contains(condition.state) else { return }
        enter(.stopping, "")
        if isQuiet { settle() }
    }

    /// The stub lets its client go first; then the worker is told.
    func leave(_ purpose: String) {
        enter(.stopping, purpose)
        stub.leave()
        if stub.child == nil { dismissWorker() }
    }

    /// Tells the worker to end, if that is what it is to do.
    func dismissWorker() {
        guard worker.isDismissed, let child = worker.child else { return }
        child.leave(WorkerOrder.stop, within: Child.leavingNanoseconds)
    }

    func kill() {
        worker.afterEnd(.stop)
        worker.child?.kill()
        stub.child?.kill()
    }
}

extension RestartPolicy {
    /// As the configuration says.
    init(_ settings: RestartSettings) {
        self.init(
            firstDelay: UInt64(settings.initialDelay / .nanoseconds(1)),
            delayMax: UInt64(settings.maxDelay / .nanoseconds(1)),
            window: UInt64(settings.window / .nanoseconds(1)), deathsMax: settings.burst)
    }
}
