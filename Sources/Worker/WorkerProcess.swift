// Worker: the process that owns one guest.
//
// It holds the hypervisor's VM, the vCPU and guest memory, and has exactly one thread. While the guest
// stands, that thread serves requests; while the guest runs, it sits in the driver's run call, and a
// signal brings it back when a socket has something to say (`KickSignal`).
//
// Nothing of the guest is looked at before the process is confined and the supervisor has said start.
// Start here, then `VCPULoop.swift` (the one place that runs the guest), `DebugService.swift` (what a
// stub may ask) and `GuestPorts.swift` (what the guest may ask).

package import GuestModel
import Glibc
package import Hypervisor
import Jail
import LinuxSystem
import WireProtocol

/// Why a worker process ended; the raw values are exit codes.
package enum WorkerExit: Int32, Sendable {
    /// The guest finished, or the supervisor asked for the end.
    case finished = 0
    case guestCrashed = 1
    case usage = 64
    /// The image is not one this worker can run.
    case guestRejected = 65
    case hypervisorUnusable = 69
    case internalError = 70
    case systemError = 71
    case notConfined = 77
}

/// What a worker program adds to the role: a driver.
package struct WorkerDriver: Sendable {
    package let name: DriverName
    /// Makes the machine, before confinement; takes over the inherited device.
    package let makeMachine:
        @Sendable (DriverCapabilities) throws(HypervisorError) -> any VirtualMachine
    /// Runs the capability probe, on the device at this path or, with nil, at its usual place.
    package let probe: @Sendable (String?) throws(HypervisorError) -> DriverCapabilities

    package init(
        name: DriverName,
        makeMachine:
            @escaping @Sendable (DriverCapabilities) throws(HypervisorError)
            -> any VirtualMachine,
        probe: @escaping @Sendable (String?) throws(HypervisorError) -> DriverCapabilities
    ) {
        self.name = name
        self.makeMachine = makeMachine
        self.probe = probe
    }
}

/// One worker process from its arguments to its exit code.
package enum WorkerProcess {
    /// Runs the worker that the command line describes.
    ///
    /// `PROGRAM NAME DRIVER CAPABILITIES JAIL` runs the guest of sandbox NAME;
    /// `PROGRAM --probe DRIVER [DEVICE]` prints what the driver can do here and needs no descriptors.
    package static func main(arguments: [String], drivers: [WorkerDriver]) -> Int32 {
        if 3...4 ~= arguments.count, arguments[1] == "--probe" {
            return probe(arguments[2], arguments.dropFirst(3).first, drivers: drivers)
        }
        guard arguments.count == 5, SandboxName(arguments[1]) != nil,
            let driver = drivers.first(where: { $0.name.rawValue == arguments[2] }),
            let capabilities = UInt32(arguments[3]), let jail = JailPlan(argument: arguments[4])
        else {
            writeToStandardError(
                "\(arguments.first ?? "worker") is started by hyperlight-supervisor; "
                    + "by hand only: --probe DRIVER [DEVICE]\n")
            return WorkerExit.usage.rawValue
        }
        return serve(driver, DriverCapabilities(rawValue: capabilities), jail).rawValue
    }

    private static func probe(
        _ name: String, _ devicePath: String?, drivers: [WorkerDriver]
    ) -> Int32 {
        guard let driver = drivers.first(where: { $0.name.rawValue == name }) else {
            writeToStandardError("this program has no driver \(name)\n")
            return WorkerExit.usage.rawValue
        }
        do throws(HypervisorError) {
            let capabilities = try driver.probe(devicePath)
            let limited = capabilities.isLimited ? "yes" : "no"
            writeLine(
                "driver=\(name) usable=yes limited=\(limited) "
                    + "capabilities=\(capabilities.rawValue) (\(capabilities.text))")
            return WorkerExit.finished.rawValue
        } catch {
            // One line, whatever a path in it looks like.
            let reason = String("\(error)".map { $0.isNewline ? " " : $0 })
            writeLine("driver=\(name) usable=no reason=\(reason)")
            return WorkerExit.hypervisorUnusable.rawValue
        }
    }

    private static func writeLine(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        // The reader may be gone; there is nobody else to tell.
        _ = unsafe bytes.withUnsafeBytes { unsafe write(1, $0.baseAddress, $0.count) }
    }

    private static func serve(
        _ driver: WorkerDriver, _ capabilities: DriverCapabilities, _ jail: JailPlan
    ) -> WorkerExit {
        let supervisor = SupervisorLink(OwnedDescriptor(ChildDescriptor.control))
        let machine: any VirtualMachine
        do throws(HypervisorError) {
            machine = try driver.makeMachine(capabilities)
        } catch {
            supervisor.report(.failed, "\(driver.name.rawValue): \(error)")
            return .hypervisorUnusable
        }
        do throws(SystemCallError) {
            try installKick(machine.vcpu.kick)
        } catch {
            supervisor.report(.failed, error.description)
            return .systemError
        }
        return serve(machine, driver, jail, supervisor)
    }

    private static func serve(
        _ machine: any VirtualMachine, _ driver: WorkerDriver, _ jail: JailPlan,
        _ supervisor: SupervisorLink
    ) -> WorkerExit {
        do throws(SystemCallError) {
            try supervisor.claimKick()
            let debug = try DebugLink(
                listener: OwnedDescriptor(ChildDescriptor.Worker.debugListener),
                supervisor: try supervisor.peer())
            let image = try MappedImage(OwnedDescriptor(ChildDescriptor.Worker.image))
            return start(machine, image, driver, jail, supervisor, debug)
        } catch {
            supervisor.report(.failed, error.description)
            return .systemError
        }
    }

    private static func start(
        _ machine: any VirtualMachine, _ image: consuming MappedImage, _ driver: WorkerDriver,
        _ jail: JailPlan, _ supervisor: SupervisorLink, _ debug: DebugLink
    ) -> WorkerExit {
        let confinement: ConfinementReport
        do throws(ConfinementError) {
            confinement = try confine(role(of: driver.name), jail) { () throws(ConfinementError) in
                try prepare(machine)
            }
        } catch {
            supervisor.report(.failed, "not confined: \(error)")
            // What was only short may be there for the next worker.
            return error.cause.isShortage ? .systemError : .notConfined
        }
        let hello = Hello(buildID: buildID, confinement: confinement)
        guard supervisor.send(.hello(hello)),
            case .start(let settings)? = supervisor.waitForOrder()
        else { return .finished }
        return run(machine, driver.name, image, settings, supervisor, debug)
    }

    private static func run(
        _ machine: any VirtualMachine, _ driver: DriverName, _ image: consuming MappedImage,
        _ settings: WorkerSettings, _ supervisor: SupervisorLink, _ debug: DebugLink
    ) -> WorkerExit {
        let inputs = GuestInputs(seed: settings.seed)
        do throws(GuestStartError) {
            let guest = try Guest(machine, image: image.bytes, settings: settings, inputs: inputs)
            let kept = settings.isDebugReadOnly ? nil : KeptImage(image)
            let loop = VCPULoop(
                guest: guest, image: kept, driver: driver, settings: settings,
                supervisor: supervisor, debug: debug)
            return loop.run()
        } catch {
            supervisor.report(.failed, error.description)
            return error.exit
        }
    }

    private static func prepare(_ machine: any VirtualMachine) throws(ConfinementError) {
        do throws(HypervisorError) {
            try machine.prepareForConfinement()
        } catch {
            let cause =
                switch error {
                case .call(let call, let code): SystemCallError(call, code: code)
                default: SystemCallError("\(error)", code: EINVAL)
                }
            throw ConfinementError(step: .preparation, cause: cause)
        }
    }

    /// The list of system calls that fits a driver.
    private static func role(of driver: DriverName) -> ConfinedRole {
        switch driver {
        case .kvm: .workerKVM
        case .mshv: .workerMSHV
        case .emulator: .workerEmulator
        }
    }

    private static func installKick(_ kick: Kick) throws(SystemCallError) {
        switch kick {
        case .flag(let flag): unsafe try KickSignal.install(flag: flag)
        case .function(let function, let argument):
            unsafe try KickSignal.install(function: function, argument: argument)
        }
    }
}
