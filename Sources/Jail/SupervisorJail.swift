import CCap
import CLinux
import Glibc
package import GuestModel
import LinuxSystem

/// What the supervisor itself gives up before it starts a child or listens to anybody.
///
/// It goes on opening files and starting processes, so this is a list of refusals and not one of
/// permissions. Children inherit the filter and whatever Landlock takes away.
package struct SupervisorJail: Sendable {
    /// Whether this is root and children need a root's rights to confine themselves.
    package var keepsPrivileges: Bool
    /// Whether children mount a root folder of their own.
    package var childrenMount: Bool
    /// Below these folders everything is allowed: sockets come and go there.
    package var ownFolders: [String]
    /// Below these, and from these files, reading and executing.
    package var readable: [String]
    /// Device files to be opened for reading and writing.
    package var devices: [String]
    /// TCP ports to listen on.
    package var ports: [UInt16]

    package init(
        keepsPrivileges: Bool, childrenMount: Bool, ownFolders: [String], readable: [String],
        devices: [String],
        ports: [UInt16]
    ) {
        self.keepsPrivileges = keepsPrivileges
        self.childrenMount = childrenMount
        self.ownFolders = ownFolders
        self.readable = readable
        self.devices = devices
        self.ports = ports
    }

    /// SETGID, SETUID, SETPCAP and SYS_ADMIN, which strict children confine themselves with, and KILL
    /// for the signals to them.
    package static let capabilitiesMax = Capabilities.set(
        Capabilities.kill, Capabilities.setGID, Capabilities.setUID,
        Capabilities.setPCap, Capabilities.sysAdmin)

    /// Gives it all up; call it before another thread exists, once.
    ///
    /// - Returns: what the system did not let it give up; nothing of it is needed for the children.
    /// - Source: Linux manual pages capabilities(7), landlock(7), seccomp(2).
    package func enter() -> [MissingMeasure] {
        var missing: [MissingMeasure] = []
        func attempt(_ measure: IsolationMeasure, _ action: () throws(SystemCallError) -> Void) {
            do throws(SystemCallError) {
                try action()
            } catch {
                missing.append(MissingMeasure(measure, step: error.call, code: error.code))
            }
        }
        attempt(.capabilities) { () throws(SystemCallError) in
            try checked(clinux_set_limit(Int32(RLIMIT_CORE.rawValue), 0), "setrlimit")
            try checked(clinux_set_dumpable(0), "prctl PR_SET_DUMPABLE")
            try keepCapabilities(keepsPrivileges ? Self.capabilitiesMax : 0)
        }
        if !keepsPrivileges {
            attempt(.noNewPrivileges) { () throws(SystemCallError) in
                try checked(clinux_set_no_new_privileges(), "prctl PR_SET_NO_NEW_PRIVS")
            }
        }
        attempt(.landlock, restrictPlaces)
        attempt(.seccomp) { () throws(SystemCallError) in
            try SeccompFilter.make(
                answering: Self.neverNeeded.map { CallRule($0) }, with: .refuse(EPERM)
            ).load()
        }
        return missing
    }

    private func keepCapabilities(_ kept: UInt64) throws(SystemCallError) {
        let result = clinux_drop_bounding_set(kept)
        // A plain user has no CAP_SETPCAP and nothing that the set would matter for.
        if result != -EPERM { try checked(result, "prctl PR_CAPBSET_DROP") }
        try checked(clinux_clear_ambient_set(), "prctl PR_CAP_AMBIENT")
        guard let sets = unsafe cap_get_proc() else {
            throw SystemCallError("cap_get_proc", code: errno)
        }
        // SAFETY: `sets` came from cap_get_proc and is freed once; nobody else has it.
        defer { unsafe _ = cap_free(UnsafeMutableRawPointer(sets)) }
        let flags = [CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE]
        for number in 0..<Int32(cap_max_bits()) {
            for flag in flags where flag == CAP_INHERITABLE || kept >> UInt64(number) & 1 == 0 {
                var value = cap_value_t(number)
                guard unsafe cap_set_flag(sets, flag, 1, &value, CAP_CLEAR) == 0 else {
                    throw SystemCallError("cap_set_flag", code: errno)
                }
            }
        }
        guard unsafe cap_set_proc(sets) == 0 else {
            throw SystemCallError("cap_set_proc", code: errno)
        }
    }

    /// Restricts files, ports and signals by Landlock.
    ///
    /// A process that restricts files may not mount any more, nor may its children, and a strict
    /// child has to: then the restriction is of the network and of signals only.
    private func restrictPlaces() throws(SystemCallError) {
        let abi = try Landlock.abi()
        var rights = LandlockRights.all(of: abi)
        if childrenMount { rights.files = 0 }
        guard rights.files != 0 || rights.ports != 0 || rights.scopes != 0 else { return }
        let ruleset = try Landlock.makeRuleset(rights, abi)
        if rights.files != 0 {
            try allow(ownFolders, rights.files, on: ruleset)
            let reading =
                LandlockRights.execute | LandlockRights.readFile | LandlockRights.readFolder
            try allow(readable, reading, on: ruleset)
            let device = LandlockRights.deviceUse & rights.files
            // A rule for a folder would be one for all that is in it.
            try allow(devices.filter { isCharacterDevice($0) != false }, device, on: ruleset)
        }
        if rights.ports != 0 {
            for port in Set(ports) {
                try checked(
                    clinux_landlock_allow_port(ruleset.rawValue, port, LandlockRights.bindTCP),
                    "landlock_add_rule")
            }
        }
        try checked(clinux_landlock_restrict(ruleset.rawValue), "landlock_restrict_self")
    }

    private func allow(
        _ paths: [String], _ rights: UInt64, on ruleset: borrowing OwnedDescriptor
    ) throws(SystemCallError) {
        for path in Set(paths) {
            // What is not there needs no rule.
            guard let place = try? openPlace(path) else { continue }
            let allowed = isFolder(path) ? rights : rights & LandlockRights.ofFiles
            try checked(
                clinux_landlock_allow_path(ruleset.rawValue, place.rawValue, allowed),
                "landlock_add_rule")
        }
    }

    /// Calls that neither the supervisor nor a child on its way into the jail has a use for.
    static let neverNeeded = [
        // Other processes
        "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "setns",
        // The kernel itself
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
        "io_uring_register", "init_module", "finit_module", "delete_module", "kexec_load",
        "kexec_file_load", "reboot", "syslog", "iopl", "ioperm", "swapon", "swapoff", "acct",
        "quotactl", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "vhangup",
        // Keys
        "add_key", "request_key", "keyctl",
        // Files by other ways than their names, and other roots
        "open_by_handle_at", "name_to_handle_at", "fanotify_init", "chroot", "mknod", "mknodat",
        "open_tree", "move_mount", "fsopen", "fsmount",
    ]
}
