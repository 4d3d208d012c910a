import Glibc
import GuestModel
import Jail
import LinuxListening
import LinuxSystem

/// Where the programs are: next to this one.
struct ProgramFolder: Sendable {
    let path: String

    static func ownFolder() throws(SupervisorError) -> ProgramFolder {
        do throws(SystemCallError) {
            let program = try ownProgramPath()
            let end = program.lastIndex(of: "/") ?? program.startIndex
            return ProgramFolder(path: String(program[..<end]))
        } catch {
            throw .system(error)
        }
    }

    func path(of program: String) -> String { path + "/" + program }

    /// This folder, and those in which the programs really are when there are only links here.
    var folders: [String] {
        let programs = ["hyperlight-worker", "hyperlight-worker-emulator", "hyperlight-gdbstub"]
        return [path] + programs.compactMap { realFolder(of: self.path(of: $0)) }
    }
}

/// Gives birth to workers and stubs: exact descriptors, an almost empty environment.
struct ChildLauncher: Sendable {
    /// No crash reporter inside a jail, and one heap: a second one would open files.
    private static let environment = ["SWIFT_BACKTRACE=enable=no", "MALLOC_ARENA_MAX=1"]

    /// That of a worker of this driver.
    static func environment(of driver: DriverName) -> [String] {
        driver == .mshv ? environment + MSHVShim.variables : environment
    }

    /// Descriptors that no new sandbox may take: for control clients, and for the stubs of those
    /// that run.
    private static let descriptorsReserved = 24

    let programs: ProgramFolder

    /// Throws when there is no room for another sandbox beside those that run.
    func checkRoom() throws(LaunchError) {
        guard hasFreeDescriptors(Self.descriptorsReserved) else { throw .noDescriptors }
    }

    /// The guest at `path`, copied so that nobody can change it any more.
    func image(_ name: SandboxName, path: String) throws(LaunchError) -> OwnedDescriptor {
        try checkRoom()
        do throws(SystemCallError) {
            return try SealedImage.make(copying: path, name: "guest-\(name)")
        } catch {
            throw .image(path, error)
        }
    }

    /// A worker: control socket, debug listener, sealed image and the device if the driver has one.
    func worker(
        _ name: SandboxName, driver: ChosenDriver, image: borrowing OwnedDescriptor,
        workerSocket: String, jail: SandboxJail
    ) throws(LaunchError) -> Child {
        let listener: OwnedDescriptor
        do throws(SystemCallError) {
            removeSocket(workerSocket)
            listener = try listenUnix(path: workerSocket, kind: .messages, backlog: 2)
        } catch {
            throw .path(workerSocket, error)
        }
        do throws(SystemCallError) {
            var descriptors = [
                (listener.rawValue, ChildDescriptor.Worker.debugListener),
                (image.rawValue, ChildDescriptor.Worker.image),
            ]
            let arguments = [
                driver.program, name.text, driver.name.rawValue,
                String(driver.capabilities.rawValue),
            ]
            let environment = Self.environment(of: driver.name)
            guard let path = driver.devicePath else {
                return try spawn(driver.role, jail, arguments, environment, descriptors)
            }
            let device = try openDevice(driver.name == .mshv ? MSHVShim.device ?? path : path)
            descriptors.append((device.rawValue, ChildDescriptor.Worker.device))
            return try spawn(driver.role, jail, arguments, environment, descriptors)
        } catch {
            throw .system(error)
        }
    }

    /// A stub, connected to the worker that listens at `workerSocket`.
    func stub(
        _ name: SandboxName, door: borrowing DebugDoor, symbols: borrowing SymbolFile?,
        workerSocket: String, jail: SandboxJail
    ) throws(LaunchError) -> Child {
        do throws(SystemCallError) {
            let connection = try connectUnix(path: workerSocket, kind: .messages)
            var descriptors = [(connection.rawValue, ChildDescriptor.Stub.worker)]
            if let number = door.tcpDescriptor {
                descriptors.append((number, ChildDescriptor.Stub.tcpListener))
            }
            if let number = door.unixDescriptor {
                descriptors.append((number, ChildDescriptor.Stub.unixListener))
            }
            switch symbols {
            case .some(let file):
                descriptors.append((file.descriptor.rawValue, ChildDescriptor.Stub.symbols))
            case .none: break
            }
            return try spawn(
                .stub, jail, ["hyperlight-gdbstub", name.text], Self.environment, descriptors)
        } catch {
            throw .system(error)
        }
    }

    /// The program's name is the first argument; the jail's plan becomes the last.
    private func spawn(
        _ role: ConfinedRole, _ jail: SandboxJail, _ arguments: [String], _ environment: [String],
        _ descriptors: [(Int32, Int32)]
    ) throws(SystemCallError) -> Child {
        let null = try openNull()
        var control = try SocketPair()
        var output = try Pipe()
        guard let ours = control.first.take(), let theirs = control.second.take(),
            let reader = output.reader.take(), let writer = output.writer.take()
        else { preconditionFailure("a new pair has two ends") }
        var all =
            [
                (null.rawValue, 0), (writer.rawValue, 1), (writer.rawValue, 2),
                (theirs.rawValue, ChildDescriptor.control),
            ] + descriptors
        var plan = jail.plan(for: role)
        var violations = SocketPair?.none
        if plan.reportsViolations {
            let pair = try SocketPair()
            if let number = pair.theirNumber { all.append((number, ChildDescriptor.violations)) }
            violations = consume pair
        }
        var missing = jail.missing(for: role)
        var group = makeGroup(role, jail, &missing)
        let process: ChildProcess
        let born = monotonicNanoseconds()
        do throws(SystemCallError) {
            process = try spawn(arguments, environment, all, &plan, &missing)
        } catch {
            group?.remove()
            throw error
        }
        if let made = group, !join(made, process.processID, &missing) { group = nil }
        // Our copies of the child's ends must be gone, or its death would not show on them.
        theirs.close()
        writer.close()
        return Child(
            process: process, born: born, control: ours, output: reader,
            violations: violations?.first.take(),
            jail: ChildJail(role: role, plan: plan, group: group, missing: missing))
    }

    /// What the system says where namespaces are not to be had.
    private static let namespaceRefusals = [EPERM, EACCES, EINVAL, ENOSPC, EUSERS, ENOSYS]

    /// Where namespaces are refused the child is born without; that is noted, and its plan says so.
    private func spawn(
        _ arguments: [String], _ environment: [String], _ descriptors: [(Int32, Int32)],
        _ plan: inout JailPlan, _ missing: inout [MissingMeasure]
    ) throws(SystemCallError) -> ChildProcess {
        let path = programs.path(of: arguments[0])
        if !plan.bornIn.isEmpty {
            do throws(SystemCallError) {
                return try ChildProcess.spawn(
                    path: path, arguments: arguments + [plan.argument],
                    environment: environment, descriptors: descriptors,
                    namespaces: plan.bornIn)
            } catch {
                // Only a refusal: with a shortage, waiting helps, and going without would not be asked.
                guard Self.namespaceRefusals.contains(error.code) else { throw error }
                missing.append(MissingMeasure(.namespaces, step: "clone", code: error.code))
                plan.bornIn = []
                plan.enters = []
            }
        }
        return try ChildProcess.spawn(
            path: path, arguments: arguments + [plan.argument], environment: environment,
            descriptors: descriptors)
    }

    private func makeGroup(
        _ role: ConfinedRole, _ jail: SandboxJail, _ missing: inout [MissingMeasure]
    ) -> ControlGroup? {
        do throws(SystemCallError) {
            return try jail.makeGroup(for: role)
        } catch {
            missing.append(MissingMeasure(.cgroup, step: error.call, code: error.code))
            return nil
        }
    }

    /// The child has begun to confine itself, but has not seen one byte of its guest.
    private func join(
        _ group: ControlGroup, _ processID: Int32, _ missing: inout [MissingMeasure]
    ) -> Bool {
        do throws(SystemCallError) {
            try group.add(processID)
            return true
        } catch {
            missing.append(MissingMeasure(.cgroup, step: error.call, code: error.code))
            group.remove()
            return false
        }
    }
}

/// Why a child could not be started.
enum LaunchError: Error, CustomStringConvertible {
    case image(String, SystemCallError)
    /// Of the socket or the folder at this path.
    case path(String, SystemCallError)
    case noDescriptors
    case system(SystemCallError)

    var description: String {
        switch self {
        case .image(let path, let error): "\(Self.shortage(error))guest image \(path): \(error)"
        case .path(let path, let error): "\(Self.shortage(error))\(path): \(error)"
        case .noDescriptors:
            "out of resources: too many open files in the supervisor (see RLIMIT_NOFILE)"
        case .system(let error): "\(Self.shortage(error))\(error)"
        }
    }

    private static func shortage(_ error: SystemCallError) -> String {
        error.mayPass ? "out of resources: " : ""
    }

    /// Whether the same start could succeed later.
    var isShortage: Bool {
        switch self {
        case .noDescriptors: true
        case .image(_, let error), .path(_, let error), .system(let error): error.mayPass
        }
    }
}

extension SystemCallError {
    /// Whether there was not enough of something, a file system's room among it.
    fileprivate var mayPass: Bool { isShortage || [ENOSPC, EDQUOT].contains(code) }
}
