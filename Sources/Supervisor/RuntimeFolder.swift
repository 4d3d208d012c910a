import Glibc
import GuestModel
import LinuxSystem

/// The folder with all sockets of one supervisor, and the lock that makes it the only one.
struct RuntimeFolder: ~Copyable {
    /// The longest path a Unix socket can have, in bytes.
    private static let socketPathBytesMax = 107

    let controlSocket: String
    private let root: String
    private let lock: OwnedDescriptor

    /// Finds and makes the folder: that of the control socket when one is named, else the system's.
    static func make(controlSocket: String?) throws(SupervisorError) -> RuntimeFolder {
        let root: String
        if let controlSocket {
            root = folder(of: controlSocket)
        } else {
            root = try standardFolder()
        }
        do throws(SystemCallError) {
            try makeFolder(root, mode: 0o755)
        } catch {
            throw .cannotCreate(root, error)
        }
        let lock = try takeLock(root + "/supervisor.lock")
        let folder = RuntimeFolder(
            controlSocket: controlSocket ?? root + "/control.sock", root: root, lock: lock)
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

    private static func standardFolder() throws(SupervisorError) -> String {
        if let folder = environmentValue("RUNTIME_DIRECTORY") { return folder }
        if geteuid() == 0 { return "/run/hyperlight" }
        guard let folder = environmentValue("XDG_RUNTIME_DIR") else { throw .noRuntimeFolder }
        return folder + "/hyperlight"
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

/// A variable of the environment, unless it is empty.
func environmentValue(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
}
