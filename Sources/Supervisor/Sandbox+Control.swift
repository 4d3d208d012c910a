import ControlAPI
import GuestModel
import LinuxSystem
import SandboxConfig
import WireProtocol

/// What the control API asks of one sandbox.
extension Sandbox {
    func resumeByOrder() -> ControlReply {
        // A guest that has ended may have a worker for a moment longer.
        guard let worker = worker.child, !condition.isOver else {
            return .conflict("\(name) has no running worker")
        }
        guard !worker.isGreeting else { return .conflict("\(name) is still starting") }
        guard stub.client == nil else {
            return .conflict("\(name) is being debugged by \(stub.client ?? "a client")")
        }
        // One that has crashed ends when it is let go.
        guard [.waiting, .stoppedByDebugger, .crashed].contains(condition.state) else {
            return .conflict("\(name) is not held (\(condition.state.rawValue))")
        }
        worker.send(WorkerOrder.resume)
        return .accepted(status)
    }

    /// Starts a sandbox that does not run; one that waits for its next start need not wait.
    ///
    /// A guest that has crashed and is kept for reading does not run either; while somebody reads it,
    /// ending that must be asked for.
    func startByOrder() -> ControlReply {
        if condition.state == .crashed, worker.child != nil {
            guard let client = stub.client else { return restartByOrder() }
            return .conflict(
                "\(name) has crashed, and \(client) looks at it; "
                    + "\"hyperlight-ctl restart \(name)\" ends that")
        }
        guard worker.child == nil || hasEnded, condition.state != .stopping else {
            return .conflict("\(name) is there already (\(condition.state.rawValue))")
        }
        workerHistory.forgive()
        drivers.forgetUnusable()
        holdsGuest = true
        worker.afterEnd(.restart)
        if worker.child == nil {
            worker.leaveVacant()
            if door.tcpProblem != nil { closeDoor() }
            start()
            // It failed before there was a worker; so soon nothing else can end it.
            guard condition.state != .failed else {
                return .conflict("\(name) does not start: \(condition.lastError ?? "")")
            }
        }
        return .accepted(status)
    }

    /// Whether the guest has ended by itself; its worker may be there for a moment longer.
    private var hasEnded: Bool { [.finished, .failed].contains(condition.state) }

    func stopByOrder() -> ControlReply {
        guard worker.child != nil && !hasEnded || worker.nextStart != nil else {
            return .conflict("\(name) does not run")
        }
        stop()
        return .accepted(status)
    }

    func killByOrder() -> ControlReply {
        let reply = stopByOrder()
        if case .accepted = reply { worker.child?.kill() }
        return reply
    }

    /// Ends the worker politely; the next one comes when it has ended.
    func restartByOrder() -> ControlReply {
        guard worker.child != nil else { return startByOrder() }
        workerHistory.forgive()
        holdsGuest = true
        worker.afterEnd(.restart)
        leave("to be started again")
        return .accepted(status)
    }

    func restartStub() -> ControlReply {
        guard worker.child != nil, !condition.isOver else {
            return .conflict("\(name) has no running worker")
        }
        // A stub that died too often has closed the door behind it, and a port may be free by now.
        reopenDoor()
        guard door.isOpen else { return .conflict("\(name) has no debug socket") }
        stub.restart(at: monotonicNanoseconds())
        return .accepted(status)
    }

    /// Sends the attached client away; the guest goes on as when a client is lost, and the stub serves
    /// the next one.
    ///
    /// That the client is gone shows in a later status.
    func takeOver() -> ControlReply {
        guard worker.child != nil, !condition.isOver else {
            return .conflict("\(name) has no running worker")
        }
        guard let child = stub.child, !child.isGreeting, !child.isLost else {
            return .conflict("\(name) has no debug stub at this moment (\(doorState.rawValue))")
        }
        // A client that has said nothing makes room by itself.
        guard let client = stub.client else { return .accepted(status) }
        guard condition.state != .crashed else {
            return .conflict("the guest of \(name) has crashed, and ends when \(client) leaves")
        }
        guard child.send(StubOrder.dropClient) else {
            return .conflict("the debug stub of \(name) takes no orders at this moment")
        }
        return .accepted(status)
    }

    var status: SandboxStatus {
        var status = SandboxStatus(
            name: name.text, state: condition.state,
            since: Timestamp.text(secondsSinceEpoch: condition.since),
            debug: DebugStatus(
                state: doorState, address: door.address, unixSocket: door.unixPath,
                client: stub.client, detail: doorProblem ?? door.tcpProblem))
        status.restarts = max(0, generation - 1)
        status.generation = generation
        status.driver = driver.map {
            DriverStatus(
                name: $0.name, isLimited: $0.capabilities.isLimited, reason: $0.reason)
        }
        status.workerPID = worker.child?.processID
        status.stubPID = stub.child?.processID
        status.workerResidentBytes = worker.child.flatMap { residentBytes(processID: $0.processID) }
        status.lastError = condition.lastError
        if let start = worker.nextStart {
            let now = monotonicNanoseconds()
            status.retryMilliseconds = start > now ? Int64((start - now) / 1_000_000) : 0
        }
        let silent = [("worker", worker.child), ("stub", stub.child)]
            .filter { $0.1?.heartbeat.isDegraded ?? false }.map(\.0)
        status.unresponsive = silent.isEmpty ? nil : silent
        return status
    }

    /// A door that is open while the next guest is awaited is served again with it.
    private var doorState: DebugDoorState {
        stub.doorState == .off && door.isOpen && worker.nextStart != nil
            ? .restarting : stub.doorState
    }

    func details(source: String) -> SandboxDetails {
        SandboxDetails(
            settings, status: status, source: source,
            isolation: IsolationDetails(
                profile: jail.profile, required: jail.required.sorted(),
                diagnose: settings.isolation.reportsViolations,
                processes: [worker.child, stub.child].compactMap { $0?.confinement }))
    }
}
