package import GuestModel

/// Holds what the kernel says of a child against what its plan demands.
///
/// The child's own word counts only for what cannot be seen from outside.
package enum JailAudit {
    /// What is not as it must be, one short sentence each; empty when all is well.
    ///
    /// `child` is its `/proc/PID/status`, read by the supervisor; `report` what it said of itself (a
    /// measure it lacks is not looked for); `own` the supervisor's status, from which it inherits.
    package static func mismatches(
        of child: ProcessStatus, role: ConfinedRole, plan: JailPlan, report: ConfinementReport,
        own: ProcessStatus
    ) -> [String] {
        var found: [String] = []
        func expect(_ isRight: Bool, _ text: @autoclosure () -> String) {
            if !isRight { found.append(text()) }
        }
        // A user namespace without rights, as some systems give it, is of no use for anything else.
        let lacksNamespaces = report.missing.contains { $0.measure == .namespaces }
        let lacksUser = report.missing.contains { $0.measure == .user }
        if let identity = plan.identity, !lacksUser {
            expect(child.users.allSatisfy { $0 == identity }, "user ids \(child.users)")
            expect(child.groups.allSatisfy { $0 == identity }, "group ids \(child.groups)")
            expect(
                child.supplementaryGroups.isEmpty,
                "supplementary groups \(child.supplementaryGroups)")
        } else {
            expect(child.users == own.users, "user ids \(child.users)")
        }
        let sets = [
            ("inheritable", child.inheritable), ("permitted", child.permitted),
            ("effective", child.effective), ("ambient", child.ambient),
        ]
        for (name, value) in sets {
            expect(value == 0, "\(name) capabilities \(String(value, radix: 16))")
        }
        let mayEmptyBoundingSet =
            plan.bornIn.contains(.user) && !lacksNamespaces
            || own.effective >> Capabilities.setPCap & 1 == 1
        if mayEmptyBoundingSet {
            expect(child.bounding == 0, "bounding set \(String(child.bounding, radix: 16))")
        }
        expect(child.hasNoNewPrivileges, "no no_new_privs")
        expect(child.seccompMode == 2, "seccomp mode \(child.seccompMode)")
        let filters =
            own.filterCount + (plan.reportsViolations && plan.profile != .developer ? 2 : 1)
        expect(child.filterCount == filters, "\(child.filterCount) filters instead of \(filters)")
        expect(threads(of: role).contains(child.threadCount), "\(child.threadCount) threads")
        let depth = own.pidNamespaceDepth + (plan.bornIn.contains(.pid) ? 1 : 0)
        expect(child.pidNamespaceDepth == depth, "PID namespace depth \(child.pidNamespaceDepth)")
        return found
    }

    /// KVM has a thread of the kernel in each process that has a machine (from Linux 6.14).
    private static func threads(of role: ConfinedRole) -> ClosedRange<UInt64> {
        switch role {
        case .workerKVM: 1...2
        case .workerMSHV: MSHVShim.path == nil ? 1...1 : 1...2
        case .workerEmulator, .stub: 1...1
        }
    }
}

/// Capabilities by their numbers.
///
/// - Source: `<linux/capability.h>`.
enum Capabilities {
    static let kill = 5
    static let setGID = 6
    static let setUID = 7
    static let setPCap = 8
    static let sysAdmin = 21

    /// The bits of these numbers.
    static func set(_ numbers: Int...) -> UInt64 {
        numbers.reduce(0) { $0 | 1 << UInt64($1) }
    }
}
