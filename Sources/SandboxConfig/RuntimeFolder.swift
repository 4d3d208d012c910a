/// Where the control socket and the debug sockets live while the supervisor runs.
package struct RuntimeFolder: Hashable, Sendable {
    /// The variables that are looked at, in this order; all but the first only without root.
    package static let variables = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"]

    /// Absolute path of the folder; it need not exist.
    package let path: String

    /// The folder of this process, or nil when no variable names one.
    ///
    /// - Parameters:
    ///   - environment: The variables of the process.
    ///   - isRoot: Whether the effective user is root.
    package init?(environment: [String: String], isRoot: Bool) {
        if let folder = Self.absolute(environment["RUNTIME_DIRECTORY"]) {
            path = folder
        } else if isRoot {
            path = "/run/hyperlight"
        } else if let folder = Self.absolute(environment["XDG_RUNTIME_DIR"]) {
            path = folder + "/hyperlight"
        } else {
            return nil
        }
    }

    /// The default control socket.
    package var controlSocket: String { path + "/control.sock" }

    /// The debug socket of one sandbox.
    package func debugSocket(of sandbox: String) -> String {
        path + "/sandboxes/" + sandbox + "/gdb.sock"
    }

    /// systemd may name several folders, separated by colons; the first one is ours.
    private static func absolute(_ value: String?) -> String? {
        guard let first = value?.split(separator: ":").first, first.hasPrefix("/") else {
            return nil
        }
        return String(first)
    }
}
