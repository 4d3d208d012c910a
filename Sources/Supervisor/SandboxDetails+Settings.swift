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
                debugWaitTimeoutMilliseconds: Int64(
                    settings.debug.waitTimeout / .milliseconds(1))),
            isolation: isolation)
    }
}
