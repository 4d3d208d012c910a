import GuestModel
import Jail
import LinuxSystem
import Logging
import SandboxConfig

/// A driver with the program that contains it.
struct ChosenDriver: Hashable, Sendable {
    let name: DriverName
    let capabilities: DriverCapabilities
    /// Why this one, in words.
    let reason: String
    /// What its worker inherits; nil for a driver without a device.
    var devicePath: String?

    var program: String {
        switch name {
        case .kvm, .mshv: "hyperlight-worker"
        case .emulator: "hyperlight-worker-emulator"
        }
    }

    var role: ConfinedRole {
        switch name {
        case .kvm: .workerKVM
        case .mshv: .workerMSHV
        case .emulator: .workerEmulator
        }
    }
}

/// What a probe found.
enum ProbeResult: Hashable, Sendable {
    case usable(DriverCapabilities)
    case unusable(String)
}

/// The drivers of this machine, probed once, each in a process of its own.
final class DriverCatalogue {
    private let programs: ProgramFolder
    private let machine: MachineHypervisor
    private let log: Logger
    private var results: [DriverName: ProbeResult] = [:]

    init(programs: ProgramFolder, machine: MachineHypervisor, log: Logger) {
        self.programs = programs
        self.machine = machine
        self.log = log
    }

    /// The driver for one sandbox, or why there is none.
    func choose(_ choice: DriverChoice) -> Result<ChosenDriver, NoDriver> {
        DriverSelection.choose(choice, on: machine) { result(of: $0) }
    }

    /// What is known of each driver that was looked at, one line each.
    var descriptions: [String] {
        DriverName.allCases.compactMap { name in
            switch results[name] {
            case .none: nil
            case .usable(let capabilities): "\(name.rawValue): \(capabilities.text)"
            case .unusable(let reason): "\(name.rawValue): not usable: \(reason)"
            }
        }
    }

    /// Looks again at what could not be used: it may have been a bad moment.
    func forgetUnusable() {
        results = results.filter {
            switch $0.value {
            case .usable: true
            case .unusable: false
            }
        }
    }

    private func result(of name: DriverName) -> ProbeResult {
        if let known = results[name] { return known }
        let result = DriverProbe.run(
            name, programs: programs, devicePath: machine.unusualDevice(of: name))
        results[name] = result
        switch result {
        case .usable(let capabilities) where capabilities.isLimited:
            log.warning(
                "driver.limited", sandbox: nil,
                "\(name.rawValue) lacks \(capabilities.missingText.joined(separator: ", "))")
        case .usable: log.debug("driver.usable", sandbox: nil, name.rawValue)
        case .unusable(let reason):
            log.debug("driver.unusable", sandbox: nil, "\(name.rawValue): \(reason)")
        }
        return result
    }
}

/// No driver can be used, and why not, one reason a driver.
struct NoDriver: Error, Hashable {
    let reason: String
}

/// Decision A2: `auto` takes the best driver that can do everything, beginning with the one that the
/// environment names; a list takes the first usable.
enum DriverSelection {
    static func choose(
        _ choice: DriverChoice, on machine: MachineHypervisor = .unknown,
        result: (DriverName) -> ProbeResult
    ) -> Result<ChosenDriver, NoDriver> {
        var skipped: [String] = []
        let candidates: [DriverName]
        let acceptsLimited: Bool
        switch choice {
        case .automatic: (candidates, acceptsLimited) = (machine.candidates, false)
        case .listed(let names): (candidates, acceptsLimited) = (names, true)
        }
        for name in candidates {
            switch result(name) {
            case .unusable(let reason): skipped.append("\(name.rawValue): \(reason)")
            case .usable(let capabilities) where capabilities.isLimited && !acceptsLimited:
                let missing = capabilities.missingText.joined(separator: ", ")
                skipped.append("\(name.rawValue): limited, lacks \(missing)")
            case .usable(let capabilities):
                let why = skipped.isEmpty ? "first choice" : skipped.joined(separator: "; ")
                return .success(
                    ChosenDriver(
                        name: name, capabilities: capabilities, reason: why,
                        devicePath: machine.device(of: name)))
            }
        }
        return .failure(NoDriver(reason: skipped.joined(separator: "; ")))
    }
}
