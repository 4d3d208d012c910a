import Glibc

/// What the file system says about a socket file.
struct SocketFile {
    let owner: String
    let group: String
    let mode: String

    /// Nil when there is no socket at the path.
    init?(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        owner =
            getpwuid(status.st_uid).map { String(cString: $0.pointee.pw_name) }
            ?? "\(status.st_uid)"
        group =
            getgrgid(status.st_gid).map { String(cString: $0.pointee.gr_name) }
            ?? "\(status.st_gid)"
        let digits = String(status.st_mode & 0o777, radix: 8)
        mode = String(repeating: "0", count: 4 - digits.count) + digits
    }

    /// As messages show it: `owner root, group hyperlight, mode 0660`.
    var text: String { "owner \(owner), group \(group), mode \(mode)" }

    /// Whether there is a socket at the path that this process may connect to.
    static func isUsable(_ path: String) -> Bool {
        SocketFile(path) != nil && access(path, R_OK | W_OK) == 0
    }
}
