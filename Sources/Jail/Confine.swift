// Jail: how a process of ours gives up every right that it does not need.
//
// A worker or stub gets a `JailPlan` from the supervisor and carries it out with `confine`, in the
// one order that works; each step is a small function in `ConfinementSteps.swift`. The supervisor
// then compares what `/proc` says with the plan (`ProcessStatus`), and confines itself as far as it
// can (`SupervisorJail`). System calls are listed in `SeccompPolicy` and its extensions.

import CLinux
import Glibc
package import GuestModel
import LinuxSystem

/// The processes that confine themselves; each has its own list of system calls.
package enum ConfinedRole: Sendable, CaseIterable {
    case workerKVM
    case workerMSHV
    case workerEmulator
    case stub
}

/// Gives up everything that `role` does not need, for good.
///
/// Call it once, from the process's only thread, after devices are open, the VM and vCPU are made,
/// the image is mapped and signal handlers are installed: afterwards a call that is not on the role's
/// list ends the process with SIGSYS. What the profile wants and the system refuses is reported,
/// not thrown, where the process is still confined without it: the supervisor decides.
/// `prepare` is called when everything but the filter and the limit of threads is in force, for what
/// can be done only once in a process's life and only then.
/// - Returns: what cannot be seen from outside.
/// - Throws: the first step that failed without which there is no jail; the process must then end.
/// - Source: Linux manual pages capabilities(7), prctl(2), getrlimit(2), seccomp(2), namespaces(7),
///   pivot_root(2), landlock(7).
package func confine(
    _ role: ConfinedRole, _ plan: JailPlan,
    prepare: () throws(ConfinementError) -> Void = {}
) throws(ConfinementError) -> ConfinementReport {
    var report = ConfinementReport(namespaces: plan.bornIn)
    try step(.resourceLimits) { () throws(SystemCallError) in
        try lowerLimits(pinsMemory: role == .workerMSHV)
    }
    // Mounting takes capabilities, so the namespaces come before these go.
    if !plan.enters.isEmpty {
        try attempt(.namespaces, &report) { (report) throws(SystemCallError) in
            try enterNamespaces(plan.enters, &report.namespaces)
        }
    }
    // So do the bounding set and another user.
    try step(.boundingSet, emptyBoundingSet)
    try step(.securebits, lockSecurebits)
    if let identity = plan.identity {
        try attempt(.user, &report) { (_) throws(SystemCallError) in try become(identity) }
    }
    try step(.ambientSet) { () throws(SystemCallError) in
        try checked(clinux_clear_ambient_set(), "prctl PR_CAP_AMBIENT")
    }
    try step(.capabilities, emptyCapabilities)
    try step(.noNewPrivileges) { () throws(SystemCallError) in
        try checked(clinux_set_no_new_privileges(), "prctl PR_SET_NO_NEW_PRIVS")
    }
    if plan.profile != .developer {
        try step(.dumpable) { () throws(SystemCallError) in
            try checked(clinux_set_dumpable(0), "prctl PR_SET_DUMPABLE")
        }
    }
    // The change of user has cleared what the spawn set.
    try step(.parentDeathSignal, dieWithSupervisor)
    if plan.profile.measures.contains(.landlock) {
        try attempt(.landlock, &report) { (report) throws(SystemCallError) in
            report.landlockABI = try Landlock.denyEverything()
        }
    }
    warmUpRuntime()
    try prepare()
    try step(.resourceLimits) { () throws(SystemCallError) in
        try forbidThreads()
        try limitAddressSpace(plan.addressSpaceBytes)
    }
    try step(.seccompFilter) { () throws(SystemCallError) in try loadFilter(of: role, plan) }
    return report
}

private func loadFilter(of role: ConfinedRole, _ plan: JailPlan) throws(SystemCallError) {
    let calls = SeccompPolicy.calls(of: role, processID: getpid())
    if plan.profile == .developer {
        try SeccompFilter.make(allowing: calls, others: .log).load()
    } else if plan.reportsViolations {
        try loadReportingFilter(allowing: calls)
    } else {
        try SeccompFilter.make(allowing: calls, others: .kill).load()
    }
}

private func step(
    _ step: ConfinementStep, _ action: () throws(SystemCallError) -> Void
) throws(ConfinementError) {
    do throws(SystemCallError) {
        try action()
    } catch {
        throw ConfinementError(step: step, cause: error)
    }
}

/// Does what the process can live without, and notes what the system said to it.
///
/// A shortage is no refusal: whoever could have had the measure a moment later must not go without.
private func attempt(
    _ measure: IsolationMeasure, _ report: inout ConfinementReport,
    _ action: (inout ConfinementReport) throws(SystemCallError) -> Void
) throws(ConfinementError) {
    do throws(SystemCallError) {
        try action(&report)
    } catch {
        guard !error.isShortage else {
            throw ConfinementError(step: .measure(measure), cause: error)
        }
        report.missing.append(MissingMeasure(measure, step: error.call, code: error.code))
    }
}
