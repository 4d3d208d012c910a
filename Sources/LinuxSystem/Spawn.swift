import CLinux
import Glibc
package import GuestModel

/// A child process that this process started, known by its pidfd.
package struct ChildProcess: ~Copyable, Sendable {
    package let processID: Int32
    /// Readable when the child has ended.
    package let pidfd: OwnedDescriptor

    /// Starts `path` with exactly these descriptors.
    ///
    /// The child is killed when the calling thread ends, so call this from one that lives as long as
    /// the process.
    /// The first argument is the name that `ps` shows; no target descriptor stands there twice.
    /// It is born in `namespaces`, which are a PID and a user namespace, one of them or none.
    package static func spawn(
        path: String, arguments: [String], environment: [String],
        descriptors: [(source: Int32, target: Int32)], namespaces: NamespaceSet = []
    ) throws(SystemCallError) -> ChildProcess {
        var flags: UInt32 = 0
        if namespaces.contains(.pid) { flags |= UInt32(CLONE_NEWPID) }
        if namespaces.contains(.user) { flags |= UInt32(CLONE_NEWUSER) }
        let map = descriptors.map { clinux_descriptor_map(source: $0.source, target: $0.target) }
        let result = unsafe withCStringArray(arguments) { arguments in
            unsafe withCStringArray(environment) { environment in
                unsafe clinux_spawn(path, arguments, environment, map, map.count, flags)
            }
        }
        let processID = try checked(result, "spawn")
        do throws(SystemCallError) {
            let pidfd = try OwnedDescriptor.take(clinux_pidfd_open(processID), from: "pidfd_open")
            return ChildProcess(processID: processID, pidfd: pidfd)
        } catch {
            // Nobody would ever hear of its end; it is ours and not reaped, so the number is its own.
            _ = kill(processID, SIGKILL)
            _ = waitpid(processID, nil, 0)
            throw error
        }
    }

    private init(processID: Int32, pidfd: consuming OwnedDescriptor) {
        self.processID = processID
        self.pidfd = pidfd
    }

    /// Sends a signal; a child that is gone already is not an error.
    package func signal(_ number: Int32) {
        // ESRCH is the only failure left, and its meaning is what the caller wants.
        _ = clinux_pidfd_send_signal(pidfd.rawValue, number)
    }

    /// How the child ended, or nil while it lives.
    ///
    /// Reaps it: the next call gives nil.
    package func reap() -> ProcessEnd? {
        var code: Int32 = 0
        var status: Int32 = 0
        guard unsafe clinux_reap(pidfd.rawValue, &code, &status) == 1 else { return nil }
        return code == CLD_EXITED ? .exited(status) : .signal(status)
    }
}

/// Whether there is a process of this id.
package func processExists(_ processID: Int32) -> Bool {
    kill(processID, 0) == 0 || errno == EPERM
}

/// How a process ended.
package enum ProcessEnd: Hashable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signal(Int32)

    /// "exit code 70", or "signal 9 (KILL)".
    package var description: String {
        switch self {
        case .exited(let code): "exit code \(code)"
        case .signal(let number): "signal \(number)\(Self.signalName(number))"
        }
    }

    private static func signalName(_ number: Int32) -> String {
        switch number {
        case SIGKILL: " (KILL)"
        case SIGTERM: " (TERM)"
        case SIGINT: " (INT)"
        case SIGSEGV: " (SEGV)"
        case SIGILL: " (ILL, a trap)"
        case SIGTRAP: " (TRAP, a trap)"
        case SIGABRT: " (ABRT)"
        case SIGBUS: " (BUS)"
        case SIGSYS: " (SYS, forbidden system call)"
        default: ""
        }
    }
}

private func withCStringArray<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers = unsafe strings.map { unsafe strdup($0) } + [nil]
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe body(&pointers)
}
