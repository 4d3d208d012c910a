import Glibc
import GuestModel
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
}

/// Gives birth to workers and stubs: exact descriptors, an almost empty environment.
struct ChildLauncher: Sendable {
    /// No crash reporter inside a jail, and one heap: a second one would open files.
    static let environment = ["SWIFT_BACKTRACE=enable=no", "MALLOC_ARENA_MAX=1"]

    /// Descriptors that no new sandbox may take: for control clients, and for the stubs of those
    /// that run.
    private static let descriptorsReserved = 24

    let programs: ProgramFolder

    /// Throws when there is no room for another sandbox beside those that run.
    func checkRoom() throws(LaunchError) {
        guard hasFreeDescriptors(Self.descriptorsReserved) else { throw .noDescriptors }
    }

    /// A worker: control socket, debug listener, sealed image and the device if the driver has one.
    func worker(
        _ name: SandboxName, driver: ChosenDriver, imagePath: String, workerSocket: String
    ) throws(LaunchError) -> Child {
        try checkRoom()
        let image: OwnedDescriptor
        do throws(SystemCallError) {
            image = try SealedImage.make(copying: imagePath, name: "guest-\(name)")
        } catch {
            throw .image(imagePath, error)
        }
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
            guard let path = driver.devicePath else {
                return try spawn(driver.program, arguments, descriptors)
            }
            let device = try openDevice(path)
            descriptors.append((device.rawValue, ChildDescriptor.Worker.device))
            return try spawn(driver.program, arguments, descriptors)
        } catch {
            throw .system(error)
        }
    }

    /// A stub, connected to the worker that listens at `workerSocket`.
    func stub(
        _ name: SandboxName, door: borrowing DebugDoor, workerSocket: String
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
            return try spawn("hyperlight-gdbstub", ["hyperlight-gdbstub", name.text], descriptors)
        } catch {
            throw .system(error)
        }
    }

    private func spawn(
        _ program: String, _ arguments: [String], _ descriptors: [(Int32, Int32)]
    ) throws(SystemCallError) -> Child {
        let null = try openNull()
        var control = try SocketPair()
        var output = try Pipe()
        guard let ours = control.first.take(), let theirs = control.second.take(),
            let reader = output.reader.take(), let writer = output.writer.take()
        else { preconditionFailure("a new pair has two ends") }
        let all =
            [
                (null.rawValue, 0), (writer.rawValue, 1), (writer.rawValue, 2),
                (theirs.rawValue, ChildDescriptor.control),
            ] + descriptors
        let process = try ChildProcess.spawn(
            path: programs.path(of: program), arguments: arguments, environment: Self.environment,
            descriptors: all)
        // Our copies of the child's ends must be gone, or its death would not show on them.
        theirs.close()
        writer.close()
        return Child(process: process, control: ours, output: reader)
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
        error.isShortage ? "out of resources: " : ""
    }

    /// Whether the same start could succeed later.
    var isShortage: Bool {
        switch self {
        case .noDescriptors: true
        case .image(_, let error), .path(_, let error), .system(let error): error.isShortage
        }
    }
}

extension SystemCallError {
    /// Whether the system had not enough of something at that moment.
    var isShortage: Bool {
        [EMFILE, ENFILE, EAGAIN, ENOMEM, ENOSPC, EDQUOT].contains(code)
    }
}
