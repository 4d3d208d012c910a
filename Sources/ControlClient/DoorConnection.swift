import ControlAPI
import Glibc
import LinuxSystem

/// A connection to the debug door of a sandbox, which does not block.
enum DoorConnection {
    /// How long a TCP connection may take to come into being.
    private static let milliseconds: Int32 = 10_000

    static func open(_ target: DebugTarget, of name: String) throws(Failure) -> OwnedDescriptor {
        do throws(SystemCallError) {
            switch target {
            case .socket(let path): return try connectUnix(path: path, kind: .stream)
            case .tcp(let address): return try connectTCP(address)
            }
        } catch {
            throw .notDebuggable(name, "\(target.text): \(error)")
        }
    }

    /// `address` is numeric, with a port: `127.0.0.1:9001` or `[::1]:9001`.
    private static func connectTCP(_ address: String) throws(SystemCallError) -> OwnedDescriptor {
        let colon = address.lastIndex(of: ":") ?? address.endIndex
        let host = address[..<colon].filter { $0 != "[" && $0 != "]" }
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(address[colon...].dropFirst()), &hints, &found) == 0,
            let place = found?.pointee
        else { throw SystemCallError("address", code: EINVAL) }
        defer { freeaddrinfo(found) }
        let kind = place.ai_socktype | Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let connection = OwnedDescriptor(socket(place.ai_family, kind, 0))
        guard connection.rawValue >= 0 else { throw SystemCallError("socket", code: errno) }
        if connect(connection.rawValue, place.ai_addr, place.ai_addrlen) != 0 {
            guard errno == EINPROGRESS else { throw SystemCallError("connect", code: errno) }
            try finishConnecting(connection)
        }
        // A packet is one small piece, and its answer is waited for.
        var on: Int32 = 1
        setsockopt(
            connection.rawValue, Int32(IPPROTO_TCP), TCP_NODELAY, &on,
            socklen_t(MemoryLayout<Int32>.size))
        return connection
    }

    private static func finishConnecting(
        _ connection: borrowing OwnedDescriptor
    ) throws(SystemCallError) {
        var entry = pollfd(fd: connection.rawValue, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, milliseconds) == 1 else {
            throw SystemCallError("connect", code: ETIMEDOUT)
        }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(connection.rawValue, SOL_SOCKET, SO_ERROR, &code, &length)
        guard code == 0 else { throw SystemCallError("connect", code: code) }
    }
}
