package import GuestModel

/// How the processes of one sandbox are confined, as the configuration wants it and as it is.
package struct IsolationDetails: Codable, Hashable, Sendable {
    package var profile: IsolationProfile
    /// In the order of their names.
    package var required: [IsolationMeasure]
    /// A forbidden system call is named in the log.
    package var diagnose: Bool
    /// Worker and stub, while they live.
    package var processes: [ProcessConfinement]

    package init(
        profile: IsolationProfile, required: [IsolationMeasure], diagnose: Bool,
        processes: [ProcessConfinement]
    ) {
        self.profile = profile
        self.required = required
        self.diagnose = diagnose
        self.processes = processes
    }
}

/// The jail of one process.
///
/// What `/proc/PID/status` tells is read there by the supervisor, at the moment of the question;
/// Landlock and namespaces are the process's own word, given before it saw a byte of its guest.
package struct ProcessConfinement: Codable, Hashable, Sendable {
    /// `worker` or `stub`.
    package var role: String
    package var pid: Int32
    package var user: UInt32
    package var group: UInt32
    /// Any of the permitted, effective, inheritable and ambient set, in hexadecimal; `0` for none.
    package var capabilities: String
    /// In hexadecimal.
    package var boundingSet: String
    package var noNewPrivileges: Bool
    /// 0 none, 1 strict, 2 filters.
    package var seccompMode: UInt64
    package var seccompFilters: UInt64
    package var threads: UInt64
    /// 0 without Landlock.
    package var landlockABI: UInt8
    /// Namespaces that it shares with nobody: `pid`, `mnt`, ...
    package var namespaces: [String]
    package var hasControlGroup: Bool
    /// What the profile wanted and the system did not give: `landlock: landlock_create_ruleset: ...`.
    package var missing: [String]

    package init(
        role: String, pid: Int32, user: UInt32, group: UInt32, capabilities: String,
        boundingSet: String, noNewPrivileges: Bool, seccompMode: UInt64, seccompFilters: UInt64,
        threads: UInt64, landlockABI: UInt8, namespaces: [String], hasControlGroup: Bool,
        missing: [String]
    ) {
        self.role = role
        self.pid = pid
        self.user = user
        self.group = group
        self.capabilities = capabilities
        self.boundingSet = boundingSet
        self.noNewPrivileges = noNewPrivileges
        self.seccompMode = seccompMode
        self.seccompFilters = seccompFilters
        self.threads = threads
        self.landlockABI = landlockABI
        self.namespaces = namespaces
        self.hasControlGroup = hasControlGroup
        self.missing = missing
    }

    /// One line for people.
    package var text: String {
        let seccomp =
            switch seccompMode {
            case 0: "none"
            case 2: "filter (\(seccompFilters))"
            default: "mode \(seccompMode)"
            }
        return [
            "seccomp \(seccomp)", "no_new_privs \(noNewPrivileges ? "yes" : "no")",
            "caps \(capabilities)", "bounding \(boundingSet)",
            "landlock \(landlockABI == 0 ? "none" : "abi \(landlockABI)")", "uid \(user)",
            "gid \(group)", "threads \(threads)",
            "own namespaces \(namespaces.isEmpty ? "none" : namespaces.joined(separator: ","))",
            "cgroup \(hasControlGroup ? "own" : "shared")",
        ].joined(separator: "  ")
    }
}

extension IsolationProfile: Codable {}
extension IsolationMeasure: Codable {}
