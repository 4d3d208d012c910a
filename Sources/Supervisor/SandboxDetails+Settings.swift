import ControlAPI
import GuestModel
import SandboxConfig

extension SandboxDetails {
    /// What the configuration says, beside what is.
    init(
        _ settings: SandboxSettings, status: SandboxStatus, source: String,
        isolation: IsolationDetails
    ) {
        let hypervisor: [String]
        switch settings.drivers {
        case .automatic: hypervisor = ["auto"]
        case .listed(let names): hypervisor = names.map(\.rawValue)
        }
        self.init(
            status: status, guest: settings.guestPath, symbols: settings.symbolsPath,
            abi: settings.abi,
            memory: MemoryDetails(
                heap: settings.memory.heap, scratch: settings.memory.scratch,
                inputData: settings.memory.inputData, outputData: settings.memory.outputData),
            labels: settings.labels,
            config: ConfigDetails(
                source: "\(source):\(settings.sourcePosition.line)", mode: settings.mode.rawValue,
                hypervisor: hypervisor, debugStartup: settings.debug.startup.rawValue,
                debugOnDisconnect: settings.debug.onDisconnect.rawValue,
                debugOnKill: settings.debug.onKill.rawValue,
                debugOnCrash: settings.debug.onCrash.rawValue,
                debugAccess: settings.debug.access.rawValue,
                debugWaitTimeoutMilliseconds: Int64(
                    settings.debug.waitTimeout / .milliseconds(1)),
                restart: RestartDetails(settings.restart)),
            isolation: isolation)
    }
}

extension RestartDetails {
    init(_ settings: RestartSettings) {
        self.init(
            policy: settings.policy.rawValue,
            initialDelayMilliseconds: Int64(settings.initialDelay / .milliseconds(1)),
            maxDelayMilliseconds: Int64(settings.maxDelay / .milliseconds(1)),
            burst: settings.burst, windowMilliseconds: Int64(settings.window / .milliseconds(1)))
    }
}
