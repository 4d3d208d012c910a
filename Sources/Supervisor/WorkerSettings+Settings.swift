import LinuxSystem
import SandboxConfig
import WireProtocol

extension WorkerSettings {
    /// What a worker has to know of the configuration.
    ///
    /// `canHold` says whether a client can come where the configuration promises.
    init(_ settings: SandboxSettings, canHold: Bool) {
        self.init(
            abi: settings.abi, heap: settings.memory.heap, scratch: settings.memory.scratch,
            input: settings.memory.inputData, output: settings.memory.outputData,
            acceptsUnversionedGuest: settings.acceptsUnversionedGuest,
            holdsForClient: settings.debug.startup == .hold && canHold,
            waitTimeoutMilliseconds: UInt64(settings.debug.waitTimeout / .milliseconds(1)),
            resumesOnDisconnect: settings.debug.onDisconnect == .resume,
            onCrash: .hold, isDebugReadOnly: false,
            endsOnKill: settings.debug.onKill == .terminate,
            endsWhenReady: settings.mode == .once, seed: randomBits())
    }
}
