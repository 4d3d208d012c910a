import Glibc
import GuestModel
import LinuxSystem
import SandboxConfig

/// The folder with all sockets of one supervisor, and the lock that makes it the only one.
struct SocketFolder: ~Copyable {
    /// The longest path a Unix socket can have, in bytes.
    private static let socketPathBytesMax = 107

    let controlSocket: String
    let root: String
    private let lock: OwnedDescriptor

    /// Makes the folder: that of the control socket when one is named, else the standard one.
    static func make(
        controlSocket: String?, standard: RuntimeFolder?
    ) throws(SupervisorError) -> SocketFolder {
        guard let controlSocket = controlSocket ?? standard?.controlSocket else {
            throw .noRuntimeFolder
        }
        let root = folder(of: controlSocket)
        do throws(SystemCallError) {
            try makeFolder(root, mode: 0o755)
        } catch {
            throw .cannotCreate(root, error)
        }
        let lock = try takeLock(root + "/supervisor.lock")
        let folder = SocketFolder(
            controlSocket: controlSocket, root: root, lock: lock)
        try folder.makeEmpty()
        return folder
    }

    private init(controlSocket: String, root: String, lock: consuming OwnedDescriptor) {
        self.controlSocket = controlSocket
        self.root = root
        self.lock = lock
    }

    private static func takeLock(_ path: String) throws(SupervisorError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try lockFile(path)
        } catch {
            guard error.code != EWOULDBLOCK else { throw .alreadyRunning(lock: path) }
            throw .cannotCreate(path, error)
        }
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Removes what a supervisor that was killed left behind; the lock says it is not running.
    private func makeEmpty() throws(SupervisorError) {
        guard controlSocket.utf8.count <= Self.socketPathBytesMax else {
            throw .pathTooLong(controlSocket)
        }
        do throws(SystemCallError) {
            try makeFolder(root + "/sandboxes", mode: 0o755)
            try makeFolder(root + "/private", mode: 0o700)
        } catch {
            throw .cannotCreate(root, error)
        }
        // In a folder that others can write to, somebody may have been here first.
        guard isPrivateFolder(root + "/private") else { throw .notPrivate(root + "/private") }
        guard isOwnFolder(root + "/sandboxes") else { throw .notOurs(root + "/sandboxes") }
        removeSocket(controlSocket)
        removeSandboxes()
    }

    /// Removes everything but the lock file, which the next supervisor takes over.
    func cleanUp() {
        removeSocket(controlSocket)
        removeSandboxes()
        removeFolder(root + "/sandboxes")
        removeFolder(root + "/private")
    }

    private func removeSandboxes() {
        for name in folderContent(root + "/sandboxes") {
            removeSocket("\(root)/sandboxes/\(name)/gdb.sock")
            removeFolder("\(root)/sandboxes/\(name)")
        }
        for name in folderContent(root + "/private") { removeSocket("\(root)/private/\(name)") }
    }

    func paths(of name: SandboxName) -> SandboxPaths {
        SandboxPaths(
            folder: "\(root)/sandboxes/\(name)", debugSocket: "\(root)/sandboxes/\(name)/gdb.sock",
            workerSocket: "\(root)/private/\(name)")
    }
}

/// Where one sandbox's sockets are.
struct SandboxPaths: Sendable {
    let folder: String
    /// For debuggers.
    let debugSocket: String
    /// Between this sandbox's worker and its stubs; in a folder nobody else can enter.
    let workerSocket: String
}
