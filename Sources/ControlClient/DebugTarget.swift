package import ControlAPI
import GuestModel

/// Where a debugger of one sandbox connects to.
package enum DebugTarget: Hashable, Sendable {
    /// The path of a Unix socket.
    case socket(String)
    /// `127.0.0.1:9001` or `[::1]:9001`.
    case tcp(String)

    /// The Unix socket when it can be used (its file mode decides who may), else TCP.
    ///
    /// - Parameters:
    ///   - status: The sandbox.
    ///   - isUsableSocket: Whether a path is a socket that may be connected to.
    /// - Throws: `Failure.notDebuggable` when there is no door to the sandbox.
    package init(
        _ status: SandboxStatus, isUsableSocket: (String) -> Bool
    ) throws(Failure) {
        let debug = try Self.door(of: status)
        if let path = debug.unixSocket, isUsableSocket(path) {
            self = .socket(path)
        } else if let address = Self.address(of: debug) {
            self = .tcp(address)
        } else if let path = debug.unixSocket {
            throw .notDebuggable(status.name, "no permission to use \(path)")
        } else {
            throw .notDebuggable(status.name, debug.detail ?? "no debug address")
        }
    }

    /// The TCP address, for debuggers that cannot use a Unix socket.
    ///
    /// - Throws: `Failure.notDebuggable` with what to do about it.
    package static func tcpAddress(of status: SandboxStatus) throws(Failure) -> String {
        let debug = try door(of: status)
        if let address = address(of: debug) { return address }
        let remedy =
            debug.detail.map { ": \($0)" }
            ?? "; set debug.port in the configuration, or use gdb"
        throw .notDebuggable(
            status.name, "lldb needs a TCP port, and this sandbox has none" + remedy)
    }

    private static func door(of status: SandboxStatus) throws(Failure) -> DebugStatus {
        guard status.debug.state != .off else {
            throw .notDebuggable(status.name, "debugging is off for this sandbox")
        }
        return status.debug
    }

    /// The address to connect to, which a listener on all addresses of the machine has none of.
    private static func address(of debug: DebugStatus) -> String? {
        guard debug.state != .unavailable, let address = debug.address else { return nil }
        for (anywhere, loopback) in [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")]
        where address.hasPrefix(anywhere) {
            return loopback + address.dropFirst(anywhere.count)
        }
        return address
    }

    /// As gdb's `target remote` takes it.
    package var text: String {
        switch self {
        case .socket(let path): path
        case .tcp(let address): address
        }
    }
}
