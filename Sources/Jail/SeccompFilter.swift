import CSeccomp
import Glibc
import LinuxSystem

/// A seccomp program that kills the process at every call that it does not allow.
///
/// Calls of a foreign architecture, x32 included, are killed too.
/// - Source: libseccomp manual pages seccomp_init(3), seccomp_rule_add(3), seccomp_attr_set(3).
@safe struct SeccompFilter: ~Copyable {
    private let context: scmp_filter_ctx

    /// A filter that allows these calls; nothing is confined until `load`.
    static func make(allowing calls: [AllowedCall]) throws(SystemCallError) -> SeccompFilter {
        guard let context = unsafe seccomp_init(UInt32(SCMP_ACT_KILL_PROCESS)) else {
            throw SystemCallError("seccomp_init", code: ENOMEM)
        }
        let filter = unsafe SeccompFilter(context: context)
        try checked(
            unsafe seccomp_attr_set(
                context, SCMP_FLTATR_ACT_BADARCH, UInt32(SCMP_ACT_KILL_PROCESS)),
            "seccomp_attr_set")
        for call in calls { try filter.allow(call) }
        return filter
    }

    private init(context: scmp_filter_ctx) {
        unsafe self.context = context
    }

    deinit {
        // SAFETY: the context of `init`, released once. The kernel has its own copy of the program.
        unsafe seccomp_release(context)
    }

    /// Puts the filter on this thread, which is the only one.
    func load() throws(SystemCallError) {
        try checked(unsafe seccomp_load(context), "seccomp_load")
    }

    private func allow(_ call: AllowedCall) throws(SystemCallError) {
        let number = unsafe seccomp_syscall_resolve_name(call.name)
        guard number >= 0 else {
            throw SystemCallError("seccomp_syscall_resolve_name of \(call.name)", code: ENOSYS)
        }
        let comparisons = call.conditions.map(\.comparison)
        let result = unsafe seccomp_rule_add_array(
            context, UInt32(SCMP_ACT_ALLOW), number, UInt32(comparisons.count), comparisons)
        guard result == 0 else {
            throw SystemCallError("seccomp_rule_add of \(call.name)", code: -result)
        }
    }
}

extension ArgumentCondition {
    fileprivate var comparison: scmp_arg_cmp {
        switch self {
        case .bits(let argument, let mask, let value):
            scmp_arg_cmp(arg: argument, op: SCMP_CMP_MASKED_EQ, datum_a: mask, datum_b: value)
        case .atMost(let argument, let limit):
            scmp_arg_cmp(arg: argument, op: SCMP_CMP_LE, datum_a: limit, datum_b: 0)
        }
    }
}
