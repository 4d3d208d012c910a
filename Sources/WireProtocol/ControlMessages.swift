package import GuestModel

/// How serious a record is.
package enum LogLevel: UInt8, Hashable, Sendable, CaseIterable, Comparable {
    case trace = 0
    case debug = 1
    case info = 2
    case warning = 3
    case error = 4

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A child's first frame: it is confined, and this is what it was built from.
package struct Hello: Hashable, Sendable {
    package var protocolVersion: UInt32
    package var buildID: String
    /// What of its jail is in force, as the child itself saw it.
    package var confinement: ConfinementReport

    package init(
        protocolVersion: UInt32 = WireLimits.protocolVersion, buildID: String,
        confinement: ConfinementReport
    ) {
        self.protocolVersion = protocolVersion
        self.buildID = buildID
        self.confinement = confinement
    }
}

/// What the supervisor tells a worker.
package enum WorkerOrder: WireMessage, Hashable {
    /// Load the guest and begin. The first order, once.
    case start(WorkerSettings)
    /// Let a guest go that is held for a debugger.
    case resume
    /// End the guest and exit.
    case stop
    /// Answer with the same number.
    case ping(UInt32)
}

/// What a worker has to know of its sandbox.
package struct WorkerSettings: Hashable, Sendable {
    package var abi: GuestABIName
    /// Sizes in bytes.
    package var heap: UInt64
    package var scratch: UInt64
    package var input: UInt64
    package var output: UInt64
    package var acceptsUnversionedGuest: Bool
    /// Held at its entry point until a client comes.
    package var holdsForClient: Bool
    /// 0: for ever.
    package var waitTimeoutMilliseconds: UInt64
    /// A stopped guest goes on when its client is lost.
    package var resumesOnDisconnect: Bool
    /// What becomes of a guest that crashes.
    package var onCrash: CrashPolicy
    /// A client may look at everything and change nothing but where the guest goes on.
    package var isDebugReadOnly: Bool
    /// The client's kill ends the guest.
    package var endsOnKill: Bool
    /// `mode: once`: the sandbox is finished when its guest is initialised.
    package var endsWhenReady: Bool
    /// Random bits for the guest.
    package var seed: UInt64

    package init(
        abi: GuestABIName, heap: UInt64, scratch: UInt64, input: UInt64, output: UInt64,
        acceptsUnversionedGuest: Bool, holdsForClient: Bool, waitTimeoutMilliseconds: UInt64,
        resumesOnDisconnect: Bool, onCrash: CrashPolicy, isDebugReadOnly: Bool, endsOnKill: Bool,
        endsWhenReady: Bool, seed: UInt64
    ) {
        self.abi = abi
        self.heap = heap
        self.scratch = scratch
        self.input = input
        self.output = output
        self.acceptsUnversionedGuest = acceptsUnversionedGuest
        self.holdsForClient = holdsForClient
        self.waitTimeoutMilliseconds = waitTimeoutMilliseconds
        self.resumesOnDisconnect = resumesOnDisconnect
        self.onCrash = onCrash
        self.isDebugReadOnly = isDebugReadOnly
        self.endsOnKill = endsOnKill
        self.endsWhenReady = endsWhenReady
        self.seed = seed
    }
}

/// What becomes of a guest that crashes.
package enum CrashPolicy: UInt8, Hashable, Sendable, CaseIterable {
    /// It ends at once, whoever looks.
    case end = 0
    /// It stays readable while a client is attached.
    case hold = 1
    /// It stays readable until a client has come and gone.
    case wait = 2
}

/// What a worker tells the supervisor.
package enum WorkerNotice: WireMessage, Hashable {
    /// Always the first.
    case hello(Hello)
    /// The sandbox's state changed; the text says why, for people.
    case state(SandboxState, String)
    /// Characters the guest printed; not trusted.
    case output(String)
    case log(LogLevel, String)
    /// The answer to the ping of this number.
    case pong(UInt32)
}

/// What the supervisor tells a stub.
package enum StubOrder: WireMessage, Hashable {
    /// The first order, once.
    case start(StubSettings)
    /// Let the client and the guest go, then exit.
    case stop
    /// Answer with the same number.
    case ping(UInt32)
    /// Let the client that is attached go, because somebody else wants the guest.
    case dropClient
}

package struct StubSettings: Hashable, Sendable {
    /// The process id that clients are shown; one that cannot exist on this machine.
    package var processID: UInt32
    /// The name of the file with symbols as clients are shown it; empty when there is none to read.
    package var symbolFileName: String

    package init(processID: UInt32, symbolFileName: String) {
        self.processID = processID
        self.symbolFileName = symbolFileName
    }
}

/// What a stub tells the supervisor.
package enum StubNotice: WireMessage, Hashable {
    /// Always the first.
    case hello(Hello)
    case clientAttached(String)
    /// The session ended; the text says why.
    case clientDetached(String)
    case log(LogLevel, String)
    /// The answer to the ping of this number.
    case pong(UInt32)
    /// A connection that got no session: who it was, and why.
    case clientRejected(String)
}
