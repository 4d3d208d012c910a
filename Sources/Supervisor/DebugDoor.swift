import LinuxListening
import LinuxSystem
import SandboxConfig

/// The listening sockets of one sandbox's debug door.
///
/// They belong to the supervisor and live as long as the sandbox, so that a client which connects while
/// a stub is being replaced simply waits.
struct DebugDoor: ~Copyable {
    private var tcp: OwnedDescriptor?
    private var unix: OwnedDescriptor?
    private(set) var address: String?
    private(set) var unixPath: String?
    /// Why there is no TCP socket although one was asked for.
    private(set) var tcpProblem: String?
    /// What is to be said at each start when other machines reach the TCP socket.
    private(set) var remoteWarning: String?

    init() {}

    /// Binds what the settings ask for; problems are kept to be told, not thrown.
    static func open(_ settings: SandboxSettings, paths: SandboxPaths) -> DebugDoor {
        var door = DebugDoor()
        guard settings.debug.isEnabled else { return door }
        door.bindTCP(settings)
        door.bindUnix(paths)
        return door
    }

    private mutating func bindTCP(_ settings: SandboxSettings) {
        guard let port = settings.debug.port else { return }
        let host = settings.debug.address
        let text = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        if let other = settings.debug.portConflictWith {
            tcpProblem =
                "debug port \(text) is used by sandbox \(other); "
                + "\(settings.name) runs without TCP debugging"
            return
        }
        do throws(SystemCallError) {
            tcp = try listenTCP(address: host, port: port, backlog: Self.backlog)
            address = text
            if settings.debug.isRemote {
                remoteWarning =
                    "\(text) is open to other machines: whoever reaches it controls the guest "
                    + "of \(settings.name), without a password"
            }
        } catch {
            tcpProblem =
                "debug port \(text) of \(settings.name) cannot be had (\(error)); "
                + "\(settings.name) runs without TCP debugging"
        }
    }

    private mutating func bindUnix(_ paths: SandboxPaths) {
        do throws(SystemCallError) {
            try makeFolder(paths.folder, mode: 0o750)
            removeSocket(paths.debugSocket)
            unix = try listenUnix(path: paths.debugSocket, kind: .stream, backlog: Self.backlog)
            try setMode(paths.debugSocket, 0o660)
            unixPath = paths.debugSocket
        } catch {
            unixProblem = "\(paths.debugSocket): \(error)"
        }
    }

    /// Why there is no Unix socket.
    private(set) var unixProblem: String?

    /// A client that finds no room tries again after a second, then after two more.
    private static let backlog: Int32 = 64

    var tcpDescriptor: Int32? {
        switch tcp {
        case .some(let listener): listener.rawValue
        case .none: nil
        }
    }

    var unixDescriptor: Int32? {
        switch unix {
        case .some(let listener): listener.rawValue
        case .none: nil
        }
    }

    var isOpen: Bool { tcpDescriptor != nil || unixDescriptor != nil }
}
