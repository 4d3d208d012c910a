import CCap
import CLinux
import Glibc
import GuestModel
import LinuxSystem

// The steps of `confine`, each by itself; their order is its business.

/// Descriptors that a confined process can have at most; the highest number is one below.
let openFilesMax: UInt64 = 16

/// All limits but those that would stop the process's own preparations.
///
/// A process that `pinsMemory` keeps its limit of locked memory: its guest's may count.
func lowerLimits(pinsMemory: Bool) throws(SystemCallError) {
    let limits: [(resource: __rlimit_resource, value: UInt64)] = [
        (RLIMIT_CORE, 0),
        (RLIMIT_FSIZE, 0),
        (RLIMIT_NOFILE, openFilesMax),
        (RLIMIT_STACK, 1 << 20),
        (__RLIMIT_MSGQUEUE, 0),
        (__RLIMIT_SIGPENDING, 64),
    ]
    // A standard error that is a file must answer EFBIG, not end the process.
    _ = signal(SIGXFSZ, SIG_IGN)
    for limit in limits { try setLimit(limit.resource, limit.value) }
    if !pinsMemory { try setLimit(__RLIMIT_MEMLOCK, 0) }
}

/// No thread and no process from now on.
func forbidThreads() throws(SystemCallError) {
    try setLimit(__RLIMIT_NPROC, 0)
}

func limitAddressSpace(_ byteCount: UInt64?) throws(SystemCallError) {
    #if !SANITIZED  // A sanitizer reserves terabytes for its shadow.
        guard let byteCount else { return }
        try setLimit(RLIMIT_AS, byteCount)
    #endif
}

private func setLimit(_ resource: __rlimit_resource, _ value: UInt64) throws(SystemCallError) {
    try checked(clinux_set_limit(Int32(resource.rawValue), value), "setrlimit")
}

/// Enters these namespaces; with a mount namespace among them the root directory is empty afterwards.
func enterNamespaces(
    _ wanted: NamespaceSet, _ entered: inout NamespaceSet
) throws(SystemCallError) {
    let flags: [(NamespaceSet, Int32)] = [
        (.mount, CLONE_NEWNS), (.network, CLONE_NEWNET), (.ipc, CLONE_NEWIPC),
        (.uts, CLONE_NEWUTS), (.cgroup, CLONE_NEWCGROUP),
    ]
    // One by one: a limit of one kind must not cost the others.
    var refusal: SystemCallError?
    for (namespace, flag) in flags where wanted.contains(namespace) {
        do throws(SystemCallError) {
            try checked(clinux_unshare(UInt32(bitPattern: flag)), "unshare")
            if namespace == .mount {
                try checked(clinux_make_mounts_private(), "mount MS_PRIVATE")
                try checked(clinux_enter_empty_root(), "pivot_root")
            }
            entered.insert(namespace)
        } catch {
            refusal = refusal ?? error
        }
    }
    if let refusal { throw refusal }
}

func emptyBoundingSet() throws(SystemCallError) {
    let result = clinux_drop_bounding_set(0)
    // Without CAP_SETPCAP the set stays as it is, and no_new_privs makes it worthless.
    guard result != -EPERM else { return }
    try checked(result, "prctl PR_CAPBSET_DROP")
}

func lockSecurebits() throws(SystemCallError) {
    let result = clinux_lock_securebits()
    // As with the bounding set.
    guard result != -EPERM else { return }
    try checked(result, "prctl PR_SET_SECUREBITS")
}

func become(_ identity: UInt32) throws(SystemCallError) {
    try checked(clinux_set_identity(identity), "setresuid")
}

/// Empties the permitted, effective and inheritable sets.
func emptyCapabilities() throws(SystemCallError) {
    guard let none = unsafe cap_init() else { throw SystemCallError("cap_init", code: errno) }
    // SAFETY: `none` came from cap_init and is freed once; nobody else has it.
    defer { unsafe _ = cap_free(UnsafeMutableRawPointer(none)) }
    guard unsafe cap_set_proc(none) == 0 else { throw SystemCallError("cap_set_proc", code: errno) }
}

/// The supervisor's end is this process's; also one that came before the request for the signal.
func dieWithSupervisor() throws(SystemCallError) {
    try checked(clinux_set_parent_death_signal(SIGKILL), "prctl PR_SET_PDEATHSIG")
    // In a PID namespace getppid says nothing, but the control socket does.
    guard try !isHungUp(ChildDescriptor.control) else {
        throw SystemCallError("supervisor", code: ESRCH)
    }
}

/// Lets the runtime do what it does once per process while it still may.
func warmUpRuntime() {
    // The first hash reads the seed with getrandom.
    _ = Set([getpid()]).contains(0)
    // The first large qsort asks for the machine's memory with sysinfo; the emulator's library sorts.
    var words = [Int32](repeating: 0, count: 1024)
    unsafe qsort(&words, words.count, MemoryLayout<Int32>.size) { _, _ in 0 }
    // The first message takes the C library's text tables in.
    _ = errorText(EPERM)
}
