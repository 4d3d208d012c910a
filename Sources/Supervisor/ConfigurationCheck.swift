import GuestModel
import LinuxSystem
package import Logging
package import SandboxConfig

/// What `--check` can find beyond the file's text: guests that cannot be opened, drivers that are not
/// here.
///
/// Starts no sandbox. Drivers are probed as they would be at a start, in processes that end at once.
package struct ConfigurationCheck {
    /// One line a driver and a sandbox, for people.
    package private(set) var text = ""
    /// What a program that goes no further exits with.
    package private(set) var exit = SupervisorExit.clean

    /// `machine` is what the environment says of this machine's hypervisor.
    package init(
        _ configuration: SupervisorConfiguration, machine: MachineHypervisor, log: Logger
    ) {
        do throws(SupervisorError) {
            let drivers = DriverCatalogue(
                programs: try ProgramFolder.ownFolder(), machine: machine, log: log)
            for sandbox in configuration.sandboxes where sandbox.isEnabled {
                check(sandbox, drivers)
            }
            for line in drivers.descriptions { text += "driver \(line)\n" }
        } catch {
            text += "\(error)\n"
            exit = error.exit
        }
    }

    private mutating func check(_ sandbox: SandboxSettings, _ drivers: DriverCatalogue) {
        for path in Set([sandbox.guestPath, sandbox.symbolsPath]).sorted() {
            do throws(SystemCallError) {
                try SealedImage.check(path)
            } catch {
                text += "sandbox \(sandbox.name): \(path): \(error)\n"
                exit = .fileMissing
            }
        }
        switch drivers.choose(sandbox.drivers) {
        case .success(let driver):
            text += "sandbox \(sandbox.name): would run on \(driver.name.rawValue)\n"
        case .failure(let none):
            text += "sandbox \(sandbox.name): no usable hypervisor: \(none.reason)\n"
            if exit == .clean { exit = .noHypervisor }
        }
    }
}
