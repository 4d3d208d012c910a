import LinuxSystem
import SandboxConfig
import WireProtocol

extension WorkerSettings {
    /// What a worker has to know of the configuration.
    ///
    /// `holdsGuest` says whether this guest may wait for its first client at all, `canBeDebugged`
    /// whether there is a place where clients can come.
    init(_ settings: SandboxSettings, holdsGuest: Bool, canBeDebugged: Bool) {
        self.init(
            abi: settings.abi, heap: settings.memory.heap, scratch: settings.memory.scratch,
            input: settings.memory.inputData, output: settings.memory.outputData,
            acceptsUnversionedGuest: settings.acceptsUnversionedGuest,
            holdsForClient: settings.debug.startup == .hold && holdsGuest,
            waitTimeoutMilliseconds: UInt64(settings.debug.waitTimeout / .milliseconds(1)),
            resumesOnDisconnect: settings.debug.onDisconnect == .resume,
            onCrash: CrashPolicy(settings.debug.onCrash, canBeDebugged: canBeDebugged),
            isDebugReadOnly: settings.debug.access == .readOnly,
            endsOnKill: settings.debug.onKill == .terminate,
            endsWhenReady: settings.mode == .once, seed: randomBits())
    }
}

extension CrashPolicy {
    /// Where no client can come, nobody would ever let a guest go that waits for one.
    fileprivate init(_ action: DebugCrashAction, canBeDebugged: Bool) {
        switch action {
        case .end: self = .end
        case .wait where canBeDebugged: self = .wait
        case .wait, .hold: self = .hold
        }
    }
}
