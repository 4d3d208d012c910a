import GuestModel

/// A sandbox's state, with its reason, its beginning and the last thing that went wrong.
struct SandboxCondition {
    private(set) var state: SandboxState
    private var text = ""
    /// Seconds since 1970.
    private(set) var since: Int64
    private(set) var lastError: String?

    init(_ state: SandboxState, since: Int64) {
        self.state = state
        self.since = since
    }

    /// Enters a state for a reason; false when both are as before.
    mutating func enter(_ new: SandboxState, _ text: String, at seconds: Int64) -> Bool {
        guard new != state || text != self.text else { return false }
        state = new
        self.text = text
        since = seconds
        if Self.isTrouble(new) { lastError = text }
        return true
    }

    static func isTrouble(_ state: SandboxState) -> Bool {
        switch state {
        case .failed, .crashed, .backoff: true
        case .disabled, .starting, .waiting, .ready, .running, .stoppedByDebugger, .finished,
            .stopping, .stopped:
            false
        }
    }

    /// Whether it was asked to end.
    var isStopping: Bool {
        switch state {
        case .stopping, .stopped: true
        case .disabled, .starting, .waiting, .ready, .running, .stoppedByDebugger, .crashed,
            .backoff, .failed, .finished:
            false
        }
    }

    /// Whether the guest has ended, so that nobody can be debugged any more.
    var isOver: Bool {
        switch state {
        case .stopping, .stopped, .finished, .failed, .disabled: true
        case .starting, .waiting, .ready, .running, .stoppedByDebugger, .crashed, .backoff: false
        }
    }
}
