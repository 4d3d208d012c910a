import GuestABI
import GuestModel

/// What the guest is doing, and with it what the worker's thread waits for.
enum Activity {
    /// Held at its entry point until the first client comes, or a resume order, or the time is over.
    case held(deadline: UInt64?)
    case running(RunGoal)
    /// Stands in front of a debugger (or where a debugger left it); `vcpu` says what resuming means.
    case stopped(StopReason, vcpu: VCPUWork)
    /// Initialised and without a call to do.
    case ready
    case ended(GuestEnd)
}

/// What the vCPU would do if it were resumed.
enum VCPUWork {
    case executing
    /// Between calls: there is nothing to execute.
    case parked
    /// Nothing: it is in the handler that reported an exception. What a client sees are the registers
    /// that the exception met.
    case reporting(ExceptionFrame)
}

/// When a running guest comes back to its debugger.
enum RunGoal {
    /// No debugger, or the debugger said continue.
    case free
    case step
    case range(start: GuestVirtualAddress, end: GuestVirtualAddress)
}

extension Activity {
    /// The word for it in `status`.
    var sandboxState: SandboxState {
        switch self {
        case .held: .waiting
        case .running: .running
        case .stopped(.crashed, _): .crashed
        case .stopped: .stoppedByDebugger
        case .ready: .ready
        case .ended(.finished): .finished
        case .ended(.crashed): .failed
        case .ended(.killed): .stopped
        }
    }
}

extension Activity {
    /// Why, in words, for logs.
    var text: String {
        switch self {
        case .held: "held at its entry point for a debugger"
        case .running, .ready: ""
        case .stopped(let reason, _): "\(reason.text)"
        case .ended(let end): end.text
        }
    }
}

extension GuestEnd {
    var text: String {
        switch self {
        case .finished: "the guest finished"
        case .crashed(let crash): "the guest crashed: \(crash)"
        case .killed: "ended from outside"
        }
    }
}

extension StopReason {
    /// The stop in words, for logs and `status`.
    var text: String {
        func hex(_ address: GuestVirtualAddress) -> String {
            "0x" + String(address.rawValue, radix: 16)
        }
        return switch self {
        case .entryPoint: "at its entry point"
        case .attached: "a client attached"
        case .interrupted: "interrupted by the client"
        case .stepped: "stepped"
        case .softwareBreakpoint(let address), .hardwareBreakpoint(let address):
            "breakpoint at \(hex(address))"
        case .watchpoint(_, let address): "watchpoint at \(hex(address))"
        case .guestTrap: "a trap of the guest's own"
        case .crashed(let crash): "crashed: \(crash)"
        }
    }
}
