// The words for what a jail does to a process of ours; the doing is in `Jail`.

/// How far a worker and its stub are confined.
package enum IsolationProfile: String, Hashable, Sendable, CaseIterable {
    /// Everything; as root each process has a user id of its own.
    case strict
    /// For a supervisor that is not root: nothing that needs a namespace or another user.
    case container
    /// For a person who wants to look into a worker: forbidden system calls are logged, not killed.
    case developer

    /// What the profile sets out to do.
    package var measures: Set<IsolationMeasure> {
        switch self {
        case .strict: Set(IsolationMeasure.allCases)
        case .container: [.seccomp, .noNewPrivileges, .capabilities, .landlock]
        case .developer: [.seccomp, .noNewPrivileges, .capabilities]
        }
    }
}

/// One kind of restriction; the raw values stand in `isolation.require`.
package enum IsolationMeasure: String, Hashable, Sendable, CaseIterable, Comparable {
    case seccomp
    case noNewPrivileges
    case capabilities
    case landlock
    /// A user id that no other process has.
    case user
    case namespaces
    case cgroup

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// What to do about a system that does not give it, in one sentence.
    package var remedy: String {
        switch self {
        case .seccomp: "the kernel needs CONFIG_SECCOMP_FILTER"
        case .noNewPrivileges: "the kernel is too old: Linux 5.10 or later is needed"
        case .capabilities: "start the supervisor without capabilities, or as root"
        case .landlock: "the kernel needs Landlock, in CONFIG_LSM or lsm= too; or do not require it"
        case .user:
            "start the supervisor as root with CAP_SETUID and CAP_SETGID; or do not require it"
        case .namespaces:
            "allow user namespaces (user.max_user_namespaces) or start the supervisor as root with "
                + "CAP_SYS_ADMIN; or do not require them"
        case .cgroup:
            "delegate a control group to the supervisor (Delegate=yes); or do not require it"
        }
    }
}

/// Namespaces that a process does not share with the supervisor.
package struct NamespaceSet: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let mount = NamespaceSet(rawValue: 1 << 0)
    package static let network = NamespaceSet(rawValue: 1 << 1)
    package static let ipc = NamespaceSet(rawValue: 1 << 2)
    package static let uts = NamespaceSet(rawValue: 1 << 3)
    package static let pid = NamespaceSet(rawValue: 1 << 4)
    package static let cgroup = NamespaceSet(rawValue: 1 << 5)
    package static let user = NamespaceSet(rawValue: 1 << 6)

    /// Those that a running process can enter by itself.
    package static let entered: NamespaceSet = [.mount, .network, .ipc, .uts, .cgroup]

    /// Short names as in `/proc/PID/ns`.
    package var names: [String] {
        let all: [(NamespaceSet, String)] = [
            (.user, "user"), (.pid, "pid"), (.mount, "mnt"), (.network, "net"), (.ipc, "ipc"),
            (.uts, "uts"), (.cgroup, "cgroup"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }
}

/// A restriction that could not be had, and what the system said.
package struct MissingMeasure: Hashable, Sendable {
    package var measure: IsolationMeasure
    /// The step that failed: "landlock_create_ruleset".
    package var step: String
    /// Its errno.
    package var code: Int32

    package init(_ measure: IsolationMeasure, step: String, code: Int32) {
        self.measure = measure
        self.step = step
        self.code = code
    }
}

/// What a process says of its own confinement, beside what can be seen from outside.
package struct ConfinementReport: Hashable, Sendable {
    /// 0 without Landlock.
    package var landlockABI: UInt8
    package var namespaces: NamespaceSet
    /// What the profile wanted and the system did not give; at most one entry a measure.
    package var missing: [MissingMeasure]

    package init(
        landlockABI: UInt8 = 0, namespaces: NamespaceSet = [], missing: [MissingMeasure] = []
    ) {
        self.landlockABI = landlockABI
        self.namespaces = namespaces
        self.missing = missing
    }
}
