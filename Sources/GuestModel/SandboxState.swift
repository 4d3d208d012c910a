/// The state of one sandbox; the raw values stand in logs, JSON and tables.
package enum SandboxState: String, Hashable, Sendable, CaseIterable {
    case disabled
    case starting
    /// Held at its entry point for the first debugger.
    case waiting
    /// Initialised; stays for calls.
    case ready
    /// Executing guest code.
    case running
    case stoppedByDebugger = "stopped-by-debugger"
    /// Held after a crash, readable by the attached debugger.
    case crashed
    /// Its worker was lost, and another one comes soon.
    case backoff
    /// Its worker was lost, and no other one comes unless somebody asks for it.
    case failed
    /// The guest ended by itself.
    case finished
    case stopping
    case stopped
}

/// The state of one sandbox's debug door.
package enum DebugDoorState: String, Hashable, Sendable, CaseIterable {
    case off
    case listening
    case attached
    case restarting
    case unavailable
}
