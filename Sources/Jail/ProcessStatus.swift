import Glibc
package import LinuxSystem

/// What the kernel says of a process's rights: a part of `/proc/PID/status`.
///
/// - Source: Linux manual page proc_pid_status(5).
package struct ProcessStatus: Hashable, Sendable {
    /// Real, effective, saved and file system id.
    package var users: [UInt32]
    package var groups: [UInt32]
    package var supplementaryGroups: [UInt32]
    package var inheritable: UInt64
    package var permitted: UInt64
    package var effective: UInt64
    package var bounding: UInt64
    package var ambient: UInt64
    package var hasNoNewPrivileges: Bool
    /// 0 none, 1 strict, 2 filters.
    package var seccompMode: UInt64
    package var filterCount: UInt64
    package var threadCount: UInt64
    /// In how many PID namespaces it is, as far as this process sees them.
    package var pidNamespaceDepth: Int

    /// Reads the file of a process.
    package static func read(processID: Int32) throws(SystemCallError) -> ProcessStatus {
        let text = try readSmallFile("/proc/\(processID)/status")
        guard let status = ProcessStatus(text: text) else {
            throw SystemCallError("/proc/\(processID)/status", code: EBADMSG)
        }
        return status
    }

    /// Nil when a field is missing or is not what the manual says.
    package init?(text: String) {
        var fields: [Substring: [Substring]] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let words = line[line.index(after: colon)...].split { $0 == "\t" || $0 == " " }
            fields[line[..<colon]] = words
        }
        func numbers(_ name: Substring) -> [UInt32]? {
            guard let words = fields[name] else { return nil }
            let numbers = words.compactMap { UInt32($0) }
            return numbers.count == words.count ? numbers : nil
        }
        func number(_ name: Substring, radix: Int = 10) -> UInt64? {
            guard let words = fields[name], words.count == 1 else { return nil }
            return UInt64(words[0], radix: radix)
        }
        guard let users = numbers("Uid"), users.count == 4, let groups = numbers("Gid"),
            groups.count == 4, let supplementary = numbers("Groups"),
            let inheritable = number("CapInh", radix: 16),
            let permitted = number("CapPrm", radix: 16),
            let effective = number("CapEff", radix: 16),
            let bounding = number("CapBnd", radix: 16), let ambient = number("CapAmb", radix: 16),
            let noNewPrivileges = number("NoNewPrivs"), let seccompMode = number("Seccomp"),
            let filterCount = number("Seccomp_filters"), let threadCount = number("Threads")
        else { return nil }
        self.users = users
        self.groups = groups
        supplementaryGroups = supplementary
        self.inheritable = inheritable
        self.permitted = permitted
        self.effective = effective
        self.bounding = bounding
        self.ambient = ambient
        hasNoNewPrivileges = noNewPrivileges == 1
        self.seccompMode = seccompMode
        self.filterCount = filterCount
        self.threadCount = threadCount
        // A kernel without PID namespaces has no such line.
        pidNamespaceDepth = fields["NSpid"]?.count ?? 1
    }
}
