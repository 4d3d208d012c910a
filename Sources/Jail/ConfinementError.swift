package import GuestModel
package import LinuxSystem

/// One step of giving up rights without which there is no jail.
package enum ConfinementStep: Hashable, Sendable, CustomStringConvertible {
    case resourceLimits, boundingSet, securebits, ambientSet, capabilities, noNewPrivileges
    case dumpable, parentDeathSignal, seccompFilter
    /// What the role itself does last.
    case preparation
    /// One that could be had, but not now.
    case measure(IsolationMeasure)

    package var description: String {
        switch self {
        case .resourceLimits: "resource limits"
        case .boundingSet: "capability bounding set"
        case .securebits: "securebits"
        case .ambientSet: "ambient capabilities"
        case .capabilities: "capabilities"
        case .noNewPrivileges: "no_new_privs"
        case .dumpable: "dumpable flag"
        case .parentDeathSignal: "parent death signal"
        case .seccompFilter: "seccomp filter"
        case .preparation: "preparation"
        case .measure(let measure): measure.rawValue
        }
    }
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
    package var description: String { "\(step): \(cause)" }
}
