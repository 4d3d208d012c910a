package import ControlAPI
package import GuestModel

/// What the control server may ask of the supervision loop; nothing else crosses between them.
package protocol SupervisorCore: Sendable {
    /// Answers as soon as the loop has looked at the request; may be called from any thread.
    ///
    /// Must always answer: `.unavailable` when the supervisor is stopping.
    func ask(_ request: ControlRequest) async -> ControlReply
}

/// One wish of a control client.
package enum ControlRequest: Hashable, Sendable {
    case list
    case details(SandboxName)
    /// Release a guest that is held for a debugger; one that has crashed ends then.
    case resume(SandboxName)
    /// Start a sandbox that does not run, and forgive what went wrong with it.
    case start(SandboxName)
    /// End a sandbox politely, for good.
    case stop(SandboxName)
    /// End a sandbox at once, for good.
    case kill(SandboxName)
    /// End a sandbox politely and start it again.
    case restart(SandboxName)
    /// End the stub politely and start a new one; the guest goes on.
    case restartStub(SandboxName)
    /// Send the attached debugger away, so that another one can come.
    case takeOver(SandboxName)

    package var sandbox: SandboxName? {
        switch self {
        case .list: nil
        case .details(let name), .resume(let name), .start(let name), .stop(let name),
            .kill(let name), .restart(let name), .restartStub(let name), .takeOver(let name):
            name
        }
    }
}

/// The core's answer.
package enum ControlReply: Hashable, Sendable {
    case list([SandboxStatus])
    case details(SandboxDetails)
    /// The wish is being carried out; the state as it is now.
    case accepted(SandboxStatus)
    /// No sandbox of that name.
    case notFound
    /// Not possible in the present state; the text says why.
    case conflict(String)
    /// The supervisor is stopping or too busy; the text says which.
    case unavailable(String)
}
