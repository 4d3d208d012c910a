import ControlAPI
import GuestModel
import LinuxSystem
import SandboxConfig
import WireProtocol

/// What the control API asks of one sandbox.
extension Sandbox {
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
            name: name.text, state: condition.state,
            since: Timestamp.text(secondsSinceEpoch: condition.since),
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
        status.lastError = condition.lastError
        return status
    }

    func details(source: String) -> SandboxDetails {
        SandboxDetails(
            settings, status: status, source: source,
            isolation: IsolationDetails(
                profile: jail.profile, required: jail.required.sorted(),
                diagnose: settings.isolation.reportsViolations,
                processes: [worker, stub.child].compactMap { $0?.confinement }))
    }
}
