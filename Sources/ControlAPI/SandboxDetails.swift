package import GuestModel

/// Everything about one sandbox: `GET /v1/sandboxes/{name}`.
package struct SandboxDetails: Codable, Hashable, Sendable {
    package var status: SandboxStatus
    /// Absolute path of the guest image.
    package var guest: String
    /// Absolute path of the file with symbols.
    package var symbols: String
    package var abi: GuestABIName
    package var memory: MemoryDetails
    package var labels: [String: String]
    package var config: ConfigDetails
    package var isolation: IsolationDetails

    package init(
        status: SandboxStatus, guest: String, symbols: String, abi: GuestABIName,
        memory: MemoryDetails, labels: [String: String], config: ConfigDetails,
        isolation: IsolationDetails
    ) {
        self.status = status
        self.guest = guest
        self.symbols = symbols
        self.abi = abi
        self.memory = memory
        self.labels = labels
        self.config = config
        self.isolation = isolation
    }
}

/// Guest memory sizes in bytes.
package struct MemoryDetails: Codable, Hashable, Sendable {
    package var heap: UInt64
    package var scratch: UInt64
    package var inputData: UInt64
    package var outputData: UInt64

    package init(heap: UInt64, scratch: UInt64, inputData: UInt64, outputData: UInt64) {
        self.heap = heap
        self.scratch = scratch
        self.inputData = inputData
        self.outputData = outputData
    }
}

/// What the configuration file says, as texts in the file's own words.
package struct ConfigDetails: Codable, Hashable, Sendable {
    /// The file and the line the sandbox stands in: `/etc/hyperlight/sandboxes.json:12`.
    package var source: String
    /// `serve` or `once`.
    package var mode: String
    /// `auto`, or drivers in the order of preference.
    package var hypervisor: [String]
    /// `wait` or `run`.
    package var debugStartup: String
    /// `resume` or `stop`.
    package var debugOnDisconnect: String
    /// `detach` or `terminate`.
    package var debugOnKill: String
    /// `end`, `hold` or `wait`.
    package var debugOnCrash: String
    /// `read-write` or `read-only`.
    package var debugAccess: String
    /// 0 waits for ever.
    package var debugWaitTimeoutMilliseconds: Int64
    package var restart: RestartDetails

    package init(
        source: String, mode: String, hypervisor: [String], debugStartup: String,
        debugOnDisconnect: String, debugOnKill: String, debugOnCrash: String, debugAccess: String,
        debugWaitTimeoutMilliseconds: Int64, restart: RestartDetails
    ) {
        self.source = source
        self.mode = mode
        self.hypervisor = hypervisor
        self.debugStartup = debugStartup
        self.debugOnDisconnect = debugOnDisconnect
        self.debugOnKill = debugOnKill
        self.debugOnCrash = debugOnCrash
        self.debugAccess = debugAccess
        self.debugWaitTimeoutMilliseconds = debugWaitTimeoutMilliseconds
        self.restart = restart
    }
}

/// When a worker that ended is replaced.
package struct RestartDetails: Codable, Hashable, Sendable {
    /// `never`, `on-failure` or `always`.
    package var policy: String
    package var initialDelayMilliseconds: Int64
    package var maxDelayMilliseconds: Int64
    package var burst: Int
    package var windowMilliseconds: Int64

    package init(
        policy: String, initialDelayMilliseconds: Int64, maxDelayMilliseconds: Int64, burst: Int,
        windowMilliseconds: Int64
    ) {
        self.policy = policy
        self.initialDelayMilliseconds = initialDelayMilliseconds
        self.maxDelayMilliseconds = maxDelayMilliseconds
        self.burst = burst
        self.windowMilliseconds = windowMilliseconds
    }
}
