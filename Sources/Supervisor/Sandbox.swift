import GuestModel
import LinuxSystem
import Logging
import SandboxConfig
import WireProtocol

/// One sandbox as the supervisor knows it: its state, its two children and its debug door.
///
/// What the control API asks of it is in `Sandbox+Control.swift`.
final class Sandbox {
    let settings: SandboxSettings
    private let index: Int
    private let paths: SandboxPaths
    private let launcher: ChildLauncher
    private let log: Logger
    private var voices: SandboxLog
    private(set) var condition: SandboxCondition
    private(set) var driver: ChosenDriver?
    private(set) var worker: Child?
    private(set) var generation = 0
    private(set) var door = DebugDoor()
    var stub = StubPost()

    init(
        _ settings: SandboxSettings, index: Int, paths: SandboxPaths, launcher: ChildLauncher,
        log: Logger
    ) {
        self.settings = settings
        self.index = index
        self.paths = paths
        self.launcher = launcher
        self.log = log
        voices = SandboxLog(log, name: settings.name)
        condition = SandboxCondition(
            settings.isEnabled ? .starting : .disabled, since: wallClock().seconds)
    }

    var name: SandboxName { settings.name }

    // MARK: Start

    /// Starts worker and stub; what goes wrong is logged and shows in the state.
    func start(drivers: DriverCatalogue) {
        do throws(LaunchError) {
            // Before the door takes some of what is scarce.
            try launcher.checkRoom()
        } catch {
            stub.close(.off)
            return fail("\(error)")
        }
        openDoor()
        switch drivers.choose(settings.drivers) {
        case .failure(let none): fail("no usable hypervisor: \(none.reason)")
        case .success(let driver):
            self.driver = driver
            startWorker(driver)
        }
    }

    private func openDoor() {
        door = DebugDoor.open(settings, paths: paths)
        if let problem = door.tcpProblem { log.error("debug.port-busy", sandbox: name, problem) }
        if let problem = door.unixProblem { log.error("debug.socket", sandbox: name, problem) }
        if !door.isOpen { stub.close(settings.debug.isEnabled ? .unavailable : .off) }
    }

    private func startWorker(_ driver: ChosenDriver) {
        do throws(LaunchError) {
            worker = try launcher.worker(
                name, driver: driver, imagePath: settings.guestPath,
                workerSocket: paths.workerSocket)
            generation += 1
            if door.isOpen { startStub() }
        } catch {
            fail("\(error)")
        }
    }

    private func startStub() {
        do throws(LaunchError) {
            let child = try launcher.stub(name, door: door, workerSocket: paths.workerSocket)
            stub.begin(child)
            log.debug("stub.started", sandbox: name, "stub \(child.processID) serves \(doorText)")
        } catch {
            log.error("stub.failed", sandbox: name, "\(error)")
            if case .gaveUp = stub.noteDeath(at: monotonicNanoseconds()) { logGivenUp("\(error)") }
        }
    }

    private func enter(_ new: SandboxState, _ text: String) {
        let old = condition.state
        guard condition.enter(new, text, at: wallClock().seconds) else { return }
        log.log(
            level: SandboxCondition.isTrouble(new) ? .error : .info, "sandbox.state",
            sandbox: name,
            "\(old.rawValue) -> \(new.rawValue)\(text.isEmpty ? "" : ": \(text)")",
            fields: stateFields)
    }

    private var stateFields: [(String, String)] {
        var fields: [(String, String)] = []
        if let worker { fields.append(("worker", String(worker.processID))) }
        if let driver { fields.append(("driver", driver.name.rawValue)) }
        if let address = door.address { fields.append(("gdb", address)) }
        return fields
    }

    private func fail(_ reason: String) { enter(.failed, reason) }

    // MARK: Turn of the loop

    /// What to wait for input on.
    var workerDescriptors: [Int32] { worker?.descriptors ?? [] }
    var stubDescriptors: [Int32] { stub.child?.descriptors ?? [] }

    /// When something is to be done although nothing came.
    var nextDeadline: UInt64? {
        [worker?.nextLook, stub.nextDeadline, voices.nextReport].compactMap { $0 }.min()
    }

    private func isDue(at now: UInt64) -> Bool { nextDeadline.map { $0 <= now } ?? false }

    /// Whether no process of this sandbox lives.
    var isQuiet: Bool { worker == nil && stub.child == nil }

    /// Does what input or the time asks for; a child that said nothing costs no call.
    func serve(now: UInt64, workerIsReady: Bool, stubIsReady: Bool) {
        let isDue = isDue(at: now)
        if workerIsReady || isDue { serveWorker(now: now) }
        // A dead worker makes its stub superfluous, so both are looked at.
        if stubIsReady || workerIsReady || isDue { serveStub(now: now) }
        if isDue { voices.report(at: now) }
    }

    private func serveWorker(now: UInt64) {
        guard let worker else { return }
        if worker.isHeard(at: now), hearWorker(worker) { worker.rest(at: now) }
        if let deadline = worker.deadline, now >= deadline {
            if worker.isGreeting { fail("the worker did not report within 5 s") }
            worker.kill()
        }
        guard let end = worker.reap() else { return }
        // Its last words are still in the socket, more than one turn's if it spoke much.
        while hearWorker(worker) {}
        // No later report would come if this is the end of everything.
        voices.report(at: .max)
        self.worker = nil
        removeSocket(paths.workerSocket)
        workerEnded(end)
    }

    /// Takes what the worker says, at most one turn's worth; true when there may be more.
    private func hearWorker(_ worker: Child) -> Bool {
        let lines = worker.lines()
        for line in lines {
            voices.take(line, .processes, event: "worker.stderr", level: .error)
        }
        do throws(WireError) {
            let notices = try worker.notices(WorkerNotice.self)
            for notice in notices { take(notice, from: worker) }
            return Child.isTurnFull(notices: notices.count, lines: lines.count)
        } catch {
            log.error("worker.protocol", sandbox: name, "\(error); the worker is killed")
            // Before its end, which knows no reason but a signal.
            if !condition.isOver { fail("the worker broke the protocol: \(error)") }
            worker.kill()
            return false
        }
    }

    private func take(_ notice: WorkerNotice, from worker: Child) {
        switch notice {
        case .hello(let hello):
            guard accepts(hello, of: "worker", worker) else {
                return fail("worker of another build")
            }
            // A second greeting, or one that comes after the order to stop, changes nothing.
            guard worker.isGreeting, !condition.isStopping else { return }
            worker.greeted()
            // Without the port that was asked for nobody would come: the guest runs on.
            let canHold = door.isOpen && door.tcpProblem == nil
            worker.send(WorkerOrder.start(WorkerSettings(settings, canHold: canHold)))
        case .state(let new, let text):
            // What a worker says that was given up has no weight.
            guard !condition.isStopping, condition.state != .failed else { return }
            enter(new, text)
        case .output(let text):
            voices.take(text, .guest, event: "guest.output", level: .info)
        case .log(let level, let text):
            voices.take(text, .guest, event: "worker.log", level: Logger.Level(level))
        }
    }

    private func accepts(_ hello: Hello, of role: String, _ child: Child) -> Bool {
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

    private func workerEnded(_ end: ProcessEnd) {
        switch condition.state {
        case .stopping: enter(.stopped, "")
        case .finished, .failed, .stopped, .disabled: break
        case .starting, .waiting, .ready, .running, .stoppedByDebugger, .crashed:
            // Its last report found the socket full.
            if end == .exited(0), condition.state != .starting {
                enter(.finished, "the guest ended")
                break
            }
            log.error("worker.exited", sandbox: name, "the worker ended: \(end)")
            fail("the worker ended: \(end)")
        }
        stub.workerIsGone()
    }

    private func serveStub(now: UInt64) {
        if let child = stub.child {
            if child.isHeard(at: now), hearStub(child) { child.rest(at: now) }
            if let deadline = child.deadline, now >= deadline { child.kill() }
            if let end = child.reap() {
                while hearStub(child) {}
                stubEnded(end, now: now)
            }
        }
        if stub.isDue(at: now) { startStub() }
    }

    private func hearStub(_ child: Child) -> Bool {
        let lines = child.lines()
        for line in lines {
            voices.take(line, .processes, event: "stub.stderr", level: .error)
        }
        do throws(WireError) {
            let notices = try child.notices(StubNotice.self)
            for notice in notices { take(notice, from: child) }
            return Child.isTurnFull(notices: notices.count, lines: lines.count)
        } catch {
            log.error("stub.protocol", sandbox: name, "\(error); the stub is killed")
            child.kill()
            return false
        }
    }

    private func take(_ notice: StubNotice, from child: Child) {
        switch notice {
        case .hello(let hello):
            guard accepts(hello, of: "stub", child) else { return stub.giveUp() }
            guard child.isGreeting else { return }
            child.greeted()
            child.send(
                StubOrder.start(StubSettings(processID: Self.firstProcessID + UInt32(index))))
        case .clientAttached(let client):
            stub.client = client
            log.info("debug.attached", sandbox: name, client)
        case .clientDetached(let reason):
            stub.client = nil
            log.info("debug.detached", sandbox: name, reason)
        case .log(let level, let text):
            voices.take(text, .processes, event: "stub.log", level: Logger.Level(level))
        }
    }

    /// One above the largest process id that Linux can give.
    private static let firstProcessID: UInt32 = 4_194_305

    private func stubEnded(_ end: ProcessEnd, now: UInt64) {
        let hasWorker = worker.map { !$0.isLost } ?? false
        switch stub.ended(isWanted: hasWorker && !condition.isOver, at: now) {
        case .expected: break
        case .restarts where end == .exited(0):
            // So it ends when its worker has left it: the worker's own end may be on its way.
            log.info("stub.exited", sandbox: name, "the stub ended, it had lost its worker")
        case .restarts(let delay):
            log.warning(
                "stub.exited", sandbox: name,
                "the stub ended: \(end); the guest is untouched, a new stub comes in \(delay) ms")
        case .gaveUp: logGivenUp("the stub ended: \(end)")
        }
    }

    private func logGivenUp(_ reason: String) {
        log.error(
            "stub.gave-up", sandbox: name,
            "\(reason), too often; debugging is off until \"hyperlight-ctl stub restart \(name)\"")
    }

    private var doorText: String { door.address ?? door.unixPath ?? "nothing" }

    // MARK: End

    /// Asks both children to end, the stub first.
    func stop() {
        stub.leave()
        guard let worker else {
            if !settings.isEnabled || condition.state == .failed || condition.state == .finished {
                return
            }
            return enter(.stopped, "")
        }
        enter(.stopping, "")
        // How long it may take is a matter of the whole supervisor's end.
        worker.send(WorkerOrder.stop)
    }

    func kill() {
        worker?.kill()
        stub.child?.kill()
    }
}
