import CLinux
import Glibc

/// The two ends of a new SOCK_SEQPACKET connection.
package struct SocketPair: ~Copyable {
    package var first: OwnedDescriptor?
    package var second: OwnedDescriptor?

    /// The number of the second end, for a child to be born with.
    package var theirNumber: Int32? {
        switch second {
        case .some(let end): end.rawValue
        case .none: nil
        }
    }

    package init() throws(SystemCallError) {
        var numbers: (Int32, Int32) = (-1, -1)
        try checked(unsafe clinux_socketpair_seqpacket(&numbers.0, &numbers.1), "socketpair")
        first = OwnedDescriptor(numbers.0)
        second = OwnedDescriptor(numbers.1)
    }
}

/// What kind of bytes a Unix socket carries.
package enum SocketKind: Sendable {
    case stream
    /// Messages keep their borders.
    case messages

    /// SOCK_STREAM or SOCK_SEQPACKET.
    package var rawValue: Int32 {
        switch self {
        case .stream: Int32(SOCK_STREAM.rawValue)
        case .messages: Int32(SOCK_SEQPACKET.rawValue)
        }
    }
}

/// The port a listening TCP socket is bound to.
package func boundPort(_ listener: borrowing OwnedDescriptor) throws(SystemCallError) -> UInt16 {
    UInt16(truncatingIfNeeded: try checked(clinux_bound_port(listener.rawValue), "getsockname"))
}

/// A connection to the Unix socket at `path`.
package func connectUnix(path: String, kind: SocketKind) throws(SystemCallError) -> OwnedDescriptor
{
    try .take(unsafe clinux_connect_unix(path, kind.rawValue), from: "connect")
}

/// The next waiting connection, or nil when there is none.
package func acceptConnection(
    _ listener: borrowing OwnedDescriptor
) throws(SystemCallError) -> OwnedDescriptor? {
    let result = clinux_accept(listener.rawValue)
    switch -result {
    case EAGAIN, EINTR, ECONNABORTED: return nil
    default: return try .take(result, from: "accept")
    }
}

/// Who is at the other end of a socket, for logs: "127.0.0.1:51320" or "unix".
package func peerName(_ descriptor: borrowing OwnedDescriptor) -> String {
    var text = [CChar](repeating: 0, count: 64)
    let length = unsafe clinux_peer_name(descriptor.rawValue, &text, text.count)
    guard length > 0, Int(length) < text.count else { return "unknown" }
    return String(decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Who is at the other end of a Unix socket, in the numbers of the caller's namespaces.
package struct PeerCredentials: Hashable, Sendable {
    /// 0 for a process that the caller's PID namespace does not show.
    package let processID: Int32
    package let userID: UInt32

    package init(processID: Int32, userID: UInt32) {
        self.processID = processID
        self.userID = userID
    }
}

/// Process id and uid of the process that connected, listened, or made the pair.
package func peerCredentials(
    _ descriptor: borrowing OwnedDescriptor
) throws(SystemCallError) -> PeerCredentials {
    var processID: pid_t = 0
    var userID: uid_t = 0
    try checked(
        unsafe clinux_peer_credentials(descriptor.rawValue, &processID, &userID), "SO_PEERCRED")
    return PeerCredentials(processID: processID, userID: userID)
}
