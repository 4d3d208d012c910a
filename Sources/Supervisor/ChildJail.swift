import ControlAPI
import GuestModel
import Jail
import LinuxSystem

/// The jail of one child as it came to be.
struct ChildJail {
    let role: ConfinedRole
    let plan: JailPlan
    let group: ControlGroup?
    /// What the profile wanted and the system did not give, with the child's own word about it.
    private(set) var missing: [MissingMeasure]
    /// Nil until the child has greeted.
    private(set) var report: ConfinementReport?

    init(
        role: ConfinedRole, plan: JailPlan, group: ControlGroup?, missing: [MissingMeasure]
    ) {
        self.role = role
        self.plan = plan
        self.group = group
        self.missing = missing
    }

    /// Why the child must not begin, or nil.
    ///
    /// `report` is the child's own word; without the measures in `required` it does not begin.
    mutating func verdict(
        on processID: Int32, report: ConfinementReport, required: Set<IsolationMeasure>
    ) -> JailRefusal? {
        self.report = report
        missing += report.missing
        // Measures that the profile does not even try are missing too.
        let given = plan.profile.measures.subtracting(missing.map(\.measure))
        if let measure = required.subtracting(given).min() {
            let cause = missing.first { $0.measure == measure }
            return .required(measure, cause, plan.profile)
        }
        do throws(SystemCallError) {
            let mismatches = JailAudit.mismatches(
                of: try ProcessStatus.read(processID: processID), role: role, plan: plan,
                report: report, own: try ProcessStatus.read(processID: ownProcessID()))
            return mismatches.isEmpty ? nil : .mismatch(mismatches)
        } catch {
            return .mismatch(["\(error)"])
        }
    }
}

extension Child {
    /// What is known of its jail at this moment; nil before it has said that it is confined.
    var confinement: ProcessConfinement? {
        // A process that has just ended has no status any more.
        guard let report = jail.report,
            let status = try? ProcessStatus.read(processID: processID)
        else { return nil }
        let capabilities =
            status.inheritable | status.permitted | status.effective | status.ambient
        return ProcessConfinement(
            role: jail.role == .stub ? "stub" : "worker", pid: processID, user: status.users[0],
            group: status.groups[0], capabilities: String(capabilities, radix: 16),
            boundingSet: String(status.bounding, radix: 16),
            noNewPrivileges: status.hasNoNewPrivileges, seccompMode: status.seccompMode,
            seccompFilters: status.filterCount, threads: status.threadCount,
            landlockABI: report.landlockABI, namespaces: report.namespaces.names,
            hasControlGroup: jail.group != nil,
            missing: jail.missing.map { "\($0.measure.rawValue): \($0.text)" })
    }
}

/// Why a child is not let begin.
enum JailRefusal: Hashable, CustomStringConvertible {
    case required(IsolationMeasure, MissingMeasure?, IsolationProfile)
    case mismatch([String])

    var event: String {
        switch self {
        case .required: "isolation.required"
        case .mismatch: "isolation.mismatch"
        }
    }

    var description: String {
        switch self {
        case .required(let measure, let cause?, _):
            "isolation.require: \(measure.rawValue) cannot be had: \(cause.text); \(measure.remedy)"
        case .required(let measure, nil, let profile):
            "isolation.require: \(measure.rawValue) is no part of profile \(profile.rawValue)"
        case .mismatch(let found):
            "not confined as planned: \(found.joined(separator: ", "))"
        }
    }
}

extension MissingMeasure {
    /// "unshare: Operation not permitted".
    var text: String { "\(SystemCallError(step, code: code))" }
}
