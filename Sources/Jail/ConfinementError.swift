package import LinuxSystem

/// One step of giving up rights without which there is no jail.
package enum ConfinementStep: String, Hashable, Sendable {
    case resourceLimits = "resource limits"
    case boundingSet = "capability bounding set"
    case securebits
    case ambientSet = "ambient capabilities"
    case capabilities
    case noNewPrivileges = "no_new_privs"
    case dumpable = "dumpable flag"
    case parentDeathSignal = "parent death signal"
    /// What the role itself does last.
    case preparation
    case seccompFilter = "seccomp filter"
}

/// A step that failed; the process is only partly confined and must end.
package struct ConfinementError: Error, Hashable, CustomStringConvertible {
    package let step: ConfinementStep
    package let cause: SystemCallError

    package init(step: ConfinementStep, cause: SystemCallError) {
        self.step = step
        self.cause = cause
    }

    /// The step and what the system says: "seccomp filter: prctl: Operation not permitted".
    package var description: String { "\(step.rawValue): \(cause)" }
}
