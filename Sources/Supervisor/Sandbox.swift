import ControlAPI
import GuestModel
import LinuxSystem
import Logging
import SandboxConfig
import WireProtocol

/// One sandbox as the supervisor knows it: its state, its two children and its debug door.
final class Sandbox {
    private let settings: SandboxSettings
    private let index: Int
    private let paths: SandboxPaths
    private let launcher: ChildLauncher
    private let log: Logger
    private var state: SandboxState
    private var stateText = ""
    private var since = wallClock().seconds
    private var driver: ChosenDriver?
    private var worker: Child?
    private var generation = 0
    private var lastError: String?
    private var door = DebugDoor()
    private var stub = StubPost()

    init(
        _ settings: SandboxSettings, index: Int, paths: SandboxPaths, launcher: ChildLauncher,
        log: Logger
    ) {
        self.settings = settings
        self.index = index
        self.paths = paths
        self.launcher = launcher
        self.log = log
        state = settings.isEnabled ? .starting : .disabled
    }

    var name: SandboxName { settings.name }

    // MARK: Start

    /// Starts worker and stub; what goes wrong is logged and shows in the state.
    func start(drivers: DriverCatalogue) {
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
        guard door.isOpen else {
            stub.close(settings.debug.isEnabled ? .unavailable : .off)
            return
        }
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
        guard new != state || text != stateText else { return }
        let level: Logger.Level = new == .failed || new == .crashed ? .error : .info
        let reason = text.isEmpty ? "" : ": \(text)"
        log.log(
            level: level, "sandbox.state", sandbox: name,
            "\(state.rawValue) -> \(new.rawValue)\(reason)", fields: stateFields)
        state = new
        stateText = text
        since = wallClock().seconds
        if level == .error { lastError = text }
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
    var descriptors: [Int32] { (worker?.descriptors ?? []) + (stub.child?.descriptors ?? []) }

    /// When something is to be done although nothing came.
    var nextDeadline: UInt64? {
        [worker?.deadline, stub.nextDeadline].compactMap { $0 }.min()
    }

    func isDue(at now: UInt64) -> Bool { nextDeadline.map { $0 <= now } ?? false }

    /// Whether no process of this sandbox lives.
    var isQuiet: Bool { worker == nil && stub.child == nil }

    func serve(now: UInt64) {
        serveWorker(now: now)
        serveStub(now: now)
    }

    private func serveWorker(now: UInt64) {
        guard let worker else { return }
        hearWorker(worker)
        if let deadline = worker.deadline, now >= deadline {
            if worker.isGreeting { fail("the worker did not report within 5 s") }
            worker.kill()
        }
        guard let end = worker.reap() else { return }
        // Its last words are still in the socket, more than one turn's if it spoke much.
        while hearWorker(worker) {}
        self.worker = nil
        removeSocket(paths.workerSocket)
        workerEnded(end)
    }

    /// Takes what the worker says, at most one turn's worth; false when it said nothing.
    @discardableResult
    private func hearWorker(_ worker: Child) -> Bool {
        for line in worker.lines() { log.error("worker.stderr", sandbox: name, line) }
        do throws(WireError) {
            let notices = try worker.notices(WorkerNotice.self)
            for notice in notices { take(notice, from: worker) }
            return !notices.isEmpty
        } catch {
            log.error("worker.protocol", sandbox: name, "\(error); the worker is killed")
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
            guard worker.isGreeting, !isStopping else { return }
            worker.greeted()
            worker.send(WorkerOrder.start(workerSettings))
        case .state(let new, let text):
            guard !isStopping else { return }
            enter(new, text)
        case .output(let text): log.info("guest.output", sandbox: name, text)
        case .log(let level, let text):
            log.log(level: Logger.Level(level), "worker.log", sandbox: name, text)
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

    private var isStopping: Bool {
        switch state {
        case .stopping, .stopped: true
        case .disabled, .starting, .waiting, .ready, .running, .stoppedByDebugger, .crashed,
            .failed, .finished:
            false
        }
    }

    /// Whether the guest has ended, so that nobody can be debugged any more.
    private var isOver: Bool {
        switch state {
        case .stopping, .stopped, .finished, .failed, .disabled: true
        case .starting, .waiting, .ready, .running, .stoppedByDebugger, .crashed: false
        }
    }

    private func workerEnded(_ end: ProcessEnd) {
        switch state {
        case .stopping: enter(.stopped, "")
        case .finished, .failed, .stopped, .disabled: break
        case .starting, .waiting, .ready, .running, .stoppedByDebugger, .crashed:
            // Its last report found the socket full.
            if end == .exited(0), state != .starting {
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
            hearStub(child)
            if let deadline = child.deadline, now >= deadline { child.kill() }
            if let end = child.reap() {
                hearStub(child)
                stubEnded(end, now: now)
            }
        }
        if stub.isDue(at: now) { startStub() }
    }

    private func hearStub(_ child: Child) {
        for line in child.lines() { log.error("stub.stderr", sandbox: name, line) }
        do throws(WireError) {
            for notice in try child.notices(StubNotice.self) { take(notice, from: child) }
        } catch {
            log.error("stub.protocol", sandbox: name, "\(error); the stub is killed")
            child.kill()
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
            log.log(level: Logger.Level(level), "stub.log", sandbox: name, text)
        }
    }

    /// One above the largest process id that Linux can give.
    private static let firstProcessID: UInt32 = 4_194_305

    private func stubEnded(_ end: ProcessEnd, now: UInt64) {
        let isWanted = worker != nil && !isOver
        switch stub.ended(isWanted: isWanted, at: now) {
        case .expected: break
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

    private var workerSettings: WorkerSettings {
        WorkerSettings(
            abi: settings.abi, heap: settings.memory.heap, scratch: settings.memory.scratch,
            input: settings.memory.inputData, output: settings.memory.outputData,
            acceptsUnversionedGuest: settings.acceptsUnversionedGuest,
            // Without the port that was asked for nobody would come: the guest runs on.
            holdsForClient: settings.debug.startup == .hold && door.isOpen
                && door.tcpProblem == nil,
            waitTimeoutMilliseconds: UInt64(settings.debug.waitTimeout / .milliseconds(1)),
            resumesOnDisconnect: settings.debug.onDisconnect == .resume,
            endsOnKill: settings.debug.onKill == .terminate,
            endsWhenReady: settings.mode == .once, seed: randomBits())
    }

    // MARK: End

    /// Asks both children to end, the stub first.
    func stop() {
        stub.leave()
        guard let worker else {
            if !settings.isEnabled || state == .failed || state == .finished { return }
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

    // MARK: Control

    func resumeByOrder() -> ControlReply {
        guard let worker else { return .conflict("\(name) has no running worker") }
        guard !worker.isGreeting else { return .conflict("\(name) is still starting") }
        guard stub.client == nil else {
            return .conflict("\(name) is being debugged by \(stub.client ?? "a client")")
        }
        worker.send(WorkerOrder.resume)
        return .accepted(status)
    }

    func restartStub() -> ControlReply {
        guard worker != nil else { return .conflict("\(name) has no running worker") }
        guard door.isOpen else { return .conflict("\(name) has no debug socket") }
        stub.restart(at: monotonicNanoseconds())
        return .accepted(status)
    }

    var status: SandboxStatus {
        var status = SandboxStatus(
            name: name.text, state: state, since: Timestamp.text(secondsSinceEpoch: since),
            debug: DebugStatus(
                state: stub.doorState, address: door.address, unixSocket: door.unixPath,
                client: stub.client, detail: door.tcpProblem))
        status.restarts = max(0, generation - 1)
        status.generation = generation
        status.driver = driver.map {
            DriverStatus(
                name: $0.name, isLimited: $0.capabilities.isLimited, reason: $0.reason)
        }
        status.workerPID = worker?.processID
        status.stubPID = stub.child?.processID
        status.workerResidentBytes = worker.flatMap { residentBytes(processID: $0.processID) }
        status.lastError = lastError
        return status
    }

    func details(source: String) -> SandboxDetails {
        SandboxDetails(settings, status: status, source: source)
    }
}
