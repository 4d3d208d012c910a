import Glibc

/// Where a child finds the descriptors it is born with; the supervisor puts them there.
///
/// 0 is `/dev/null`, 1 and 2 are one pipe to the supervisor's log.
package enum ChildDescriptor {
    /// SOCK_SEQPACKET to the supervisor, in both roles.
    package static let control: Int32 = 3
    /// Over which a child that reports violations sends the listener of its filter; closed then.
    package static let violations: Int32 = 9

    package enum Worker {
        /// Listening SOCK_SEQPACKET socket for debug connections.
        package static let debugListener: Int32 = 4
        /// Sealed memfd with the guest image.
        package static let image: Int32 = 5
        /// The hypervisor's device; not there for the emulator.
        package static let device: Int32 = 6
        /// Where the worker puts its machine and vCPU, of KVM or of the Microsoft hypervisor.
        package static let machine: Int32 = 7
        package static let vcpu: Int32 = 8
    }

    package enum Stub {
        /// Listening TCP socket; not there without `debug.port`.
        package static let tcpListener: Int32 = 4
        /// Listening Unix socket (`gdb.sock`).
        package static let unixListener: Int32 = 5
        /// Connected SOCK_SEQPACKET socket to the worker.
        package static let worker: Int32 = 6
        /// Sealed memfd with the file that clients read symbols from; not there when it cannot be had.
        package static let symbols: Int32 = 7
    }

    /// Whether the descriptor was passed at all.
    package static func isOpen(_ number: Int32) -> Bool {
        fcntl(number, F_GETFD) >= 0
    }
}
