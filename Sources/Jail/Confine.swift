// Jail: how a process of ours gives up every right that it does not need.
//
// Limits, capabilities, no_new_privs, and a seccomp allow-list, in the one order that works. What it
// does not do yet: namespaces, Landlock, another user id. It opens and closes nothing: whoever calls
// `confine` has closed what the role must not keep.
//
// Start with `confine` below; the lists are in `SeccompPolicy.swift` and its extensions.

import CCap
import CLinux
import Glibc
import LinuxSystem

/// The processes that confine themselves; each has its own list of system calls.
package enum ConfinedRole: Sendable, CaseIterable {
    case workerKVM
    /// The one role that may make anonymous memory executable: the emulator compiles guest code.
    case workerEmulator
    case stub
}

/// Gives up everything that `role` does not need, for good.
///
/// Call it once, from the process's only thread, after devices are open, the VM and vCPU are made,
/// the image is mapped and signal handlers are installed: afterwards a call that is not on the role's
/// list ends the process with SIGSYS. A plain user without CAP_SETPCAP keeps its bounding set, which
/// no_new_privs makes worthless.
/// - Throws: the first step that failed; the process must then end, it is only partly confined.
/// - Source: Linux manual pages capabilities(7), prctl(2), getrlimit(2), seccomp(2).
package func confine(_ role: ConfinedRole) throws(ConfinementError) {
    try lowerLimits()
    // The bounding set first: emptying it takes a capability.
    try emptyBoundingSet()
    try step(.ambientSet) { () throws(SystemCallError) in
        try checked(clinux_clear_ambient_set(), "prctl")
    }
    try step(.capabilities, emptyCapabilities)
    try step(.noNewPrivileges) { () throws(SystemCallError) in
        try checked(clinux_set_no_new_privileges(), "prctl")
    }
    try step(.dumpable) { () throws(SystemCallError) in
        try checked(clinux_set_dumpable(0), "prctl")
    }
    // Set by the spawn as well, but a change of credentials may clear it.
    try step(.parentDeathSignal) { () throws(SystemCallError) in
        try checked(clinux_set_parent_death_signal(SIGKILL), "prctl")
    }
    warmUpRuntime()
    try step(.seccompFilter) { () throws(SystemCallError) in
        let calls = SeccompPolicy.calls(of: role, processID: getpid())
        try SeccompFilter.make(allowing: calls).load()
    }
}

private func step(
    _ step: ConfinementStep, _ action: () throws(SystemCallError) -> Void
) throws(ConfinementError) {
    do {
        try action()
    } catch {
        throw ConfinementError(step: step, cause: error)
    }
}

/// Descriptors that a confined process can have at most; the roles need about half of them.
private let openFilesMax: UInt64 = 32

private func lowerLimits() throws(ConfinementError) {
    let limits: [(resource: __rlimit_resource, value: UInt64)] = [
        (RLIMIT_CORE, 0),
        (RLIMIT_FSIZE, 0),
        (RLIMIT_NOFILE, openFilesMax),
        (__RLIMIT_MEMLOCK, 0),
        (__RLIMIT_MSGQUEUE, 0),
        // Counts at fork only, so threads and processes that are there already do not suffer.
        (__RLIMIT_NPROC, 0),
    ]
    // A standard error that is a file must answer EFBIG, not end the process.
    _ = signal(SIGXFSZ, SIG_IGN)
    for limit in limits {
        try step(.resourceLimits) { () throws(SystemCallError) in
            try checked(clinux_set_limit(Int32(limit.resource.rawValue), limit.value), "setrlimit")
        }
    }
}

private func emptyBoundingSet() throws(ConfinementError) {
    try step(.boundingSet) { () throws(SystemCallError) in
        let result = clinux_drop_bounding_set()
        // Without CAP_SETPCAP the set stays as it is.
        guard result != -EPERM else { return }
        try checked(result, "prctl")
    }
}

/// Empties the permitted, effective and inheritable sets.
private func emptyCapabilities() throws(SystemCallError) {
    guard let none = unsafe cap_init() else { throw SystemCallError("cap_init", code: errno) }
    // SAFETY: `none` came from cap_init and is freed once; nobody else has it.
    defer { unsafe _ = cap_free(UnsafeMutableRawPointer(none)) }
    guard unsafe cap_set_proc(none) == 0 else { throw SystemCallError("cap_set_proc", code: errno) }
}

/// Lets the runtime do what it does once per process while it still may.
private func warmUpRuntime() {
    // The first hash reads the seed with getrandom.
    _ = Set([getpid()]).contains(0)
    // The first large qsort asks for the machine's memory with sysinfo; the emulator's library sorts.
    var words = [Int32](repeating: 0, count: 1024)
    unsafe qsort(&words, words.count, MemoryLayout<Int32>.size) { _, _ in 0 }
    // The first message takes the C library's text tables in.
    _ = errorText(EPERM)
}
