package import GuestModel

/// Everything a sandboxes file says, with defaults filled in and every path absolute.
package struct SupervisorConfiguration: Hashable, Sendable {
    /// Absolute path of the control socket, or nil when the file leaves the choice to the program.
    package var controlSocket: String?
    package var log: LogSettings
    /// The first of the user ids that belong to workers and stubs, two a sandbox.
    package var firstUserID: UInt32 = SupervisorConfiguration.standardFirstUserID
    /// In the order of the file; at most 1024, names unique.
    package var sandboxes: [SandboxSettings]

    /// Behind the ranges that systems give to users, services and containers.
    package static let standardFirstUserID: UInt32 = 1_879_048_192
}

/// How the supervisor writes its log.
package struct LogSettings: Hashable, Sendable {
    package var format: LogFormat = .automatic
    package var level: LogLevel = .info
}

/// The form of one log record.
package enum LogFormat: String, Hashable, Sendable, CaseIterable {
    /// Human when standard error is a terminal, else JSON lines.
    case automatic = "auto"
    case human
    case json
}

/// The least severe record that is still written.
package enum LogLevel: String, Hashable, Sendable, CaseIterable {
    case trace, debug, info, warning, error, critical
}

/// One entry of `sandboxes`, merged with `defaults`.
package struct SandboxSettings: Hashable, Sendable {
    package var name: SandboxName
    /// False: the sandbox is known but not started.
    package var isEnabled: Bool
    /// Absolute path of the guest image.
    package var guestPath: String
    /// Absolute path of the file handed to debuggers; the guest image unless said otherwise.
    package var symbolsPath: String
    package var abi: GuestABIName
    package var drivers: DriverChoice
    package var mode: SandboxMode
    package var memory: MemorySettings
    package var debug: DebugSettings
    /// At most 16, each key and value at most 63 bytes.
    package var labels: [String: String]
    /// A hyperlight guest without a version note is accepted.
    package var acceptsUnversionedGuest: Bool
    package var isolation: IsolationSettings
    package var limits: LimitSettings
    package var restart: RestartSettings
    /// Where the entry starts in the file.
    package var sourcePosition: TextPosition
}

/// Which hypervisor drivers a sandbox may use.
package enum DriverChoice: Hashable, Sendable {
    /// The best driver whose probe passes in full.
    case automatic
    /// The first usable one wins; never empty, never twice the same. A limited driver counts.
    case listed([DriverName])
}

/// Whether a guest stays for calls.
package enum SandboxMode: String, Hashable, Sendable, CaseIterable {
    case serve, once
}

/// Guest memory sizes in bytes; together below 16 GiB.
package struct MemorySettings: Hashable, Sendable {
    package var heap: UInt64 = 128 << 10
    package var scratch: UInt64 = 288 << 10
    /// At least 8 KiB.
    package var inputData: UInt64 = 16 << 10
    /// At least 8 KiB.
    package var outputData: UInt64 = 16 << 10
}

/// The debug door of one sandbox.
package struct DebugSettings: Hashable, Sendable {
    /// False: no stub at all.
    package var isEnabled: Bool
    /// 1...65535; nil: reachable through the Unix socket only.
    package var port: UInt16?
    /// A numeric IPv4 or IPv6 address.
    package var address: String
    package var startup: DebugStartup
    /// Zero waits for ever.
    package var waitTimeout: Duration
    package var onDisconnect: DebugDisconnectAction
    package var onKill: DebugKillAction
    package var onCrash: DebugCrashAction
    package var access: DebugAccess
    /// The earlier sandbox that has the same address and port.
    ///
    /// Then TCP debugging of this one is
    /// unavailable; `port` still holds the number for messages.
    package var portConflictWith: SandboxName?

    /// Whether other machines may reach the TCP socket.
    package var isRemote: Bool { port != nil && !NumericAddress.isLoopback(address) }
}

/// What a guest does before its first client; the file says `wait` or `run`.
package enum DebugStartup: String, Hashable, Sendable, CaseIterable {
    /// Held at its entry point until a client attaches.
    case hold = "wait"
    case run
}

/// What happens to a stopped guest when its client goes away.
package enum DebugDisconnectAction: String, Hashable, Sendable, CaseIterable {
    case resume, stop
}

/// What a client's `kill` does.
package enum DebugKillAction: String, Hashable, Sendable, CaseIterable {
    case detach, terminate
}

/// What happens to a guest that crashes.
package enum DebugCrashAction: String, Hashable, Sendable, CaseIterable {
    /// It ends at once, whoever looks.
    case end
    /// It stays readable while a client is attached.
    case hold
    /// It stays readable until a client has come and gone.
    case wait
}

/// What a client may do to its guest.
package enum DebugAccess: String, Hashable, Sendable, CaseIterable {
    case readWrite = "read-write"
    /// Look at everything, and change nothing but where the guest goes on.
    case readOnly = "read-only"
}

/// How the processes of one sandbox are confined.
package struct IsolationSettings: Hashable, Sendable {
    /// Nil: strict for a supervisor that is root, else container.
    package var profile: IsolationProfile?
    /// Without these the sandbox does not start.
    package var required: Set<IsolationMeasure> = [.seccomp, .noNewPrivileges, .capabilities]
    /// A forbidden system call is named in the log.
    package var reportsViolations = false
}

/// What the processes of one sandbox may use of the machine.
package struct LimitSettings: Hashable, Sendable {
    /// Most memory of the worker in bytes, guest memory included; nil: what its guest needs.
    package var memory: UInt64?
    /// 1...100, of one processor.
    package var processorPercent: Int?
}

/// What happens when a worker ends.
package struct RestartSettings: Hashable, Sendable {
    package var policy = RestartChoice.onFailure
    package var initialDelay = Duration.milliseconds(200)
    /// At least `initialDelay`.
    package var maxDelay = Duration.seconds(30)
    /// 1...1000 restarts inside the window; one more, and the sandbox has failed.
    package var burst = 5
    /// Longer than zero.
    package var window = Duration.seconds(60)

    package init() {}
}

/// When a worker that ended is replaced.
package enum RestartChoice: String, Hashable, Sendable, CaseIterable {
    case never
    /// A crash of guest or worker, but not a guest that finished.
    case onFailure = "on-failure"
    case always
}
