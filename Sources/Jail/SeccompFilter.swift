import CSeccomp
import Glibc
import LinuxSystem

/// What a filter does with a system call.
enum SeccompAnswer: Hashable, Sendable {
    case allow
    /// The whole process ends with SIGSYS.
    case kill
    /// The call is made, and the kernel's log names it.
    case log
    /// The caller waits, and whoever holds the filter's listener learns of it.
    case notify
    /// The call fails with this errno.
    case refuse(Int32)

    fileprivate var rawValue: UInt32 {
        switch self {
        case .allow: UInt32(SCMP_ACT_ALLOW)
        case .kill: UInt32(SCMP_ACT_KILL_PROCESS)
        case .log: UInt32(SCMP_ACT_LOG)
        case .notify: UInt32(SCMP_ACT_NOTIFY)
        // SCMP_ACT_ERRNO is a macro with an argument.
        case .refuse(let code): 0x0005_0000 | UInt32(code)
        }
    }
}

/// A seccomp program.
///
/// Calls of a foreign architecture, x32 included, end the process.
/// - Source: libseccomp manual pages seccomp_init(3), seccomp_rule_add(3), seccomp_attr_set(3).
@safe struct SeccompFilter: ~Copyable {
    private let context: scmp_filter_ctx

    /// A filter that allows these calls and gives `others` to all others.
    static func make(
        allowing calls: [CallRule], others: SeccompAnswer
    ) throws(SystemCallError) -> SeccompFilter {
        let filter = try make(standard: others)
        for call in calls { try filter.add(call, .allow) }
        return filter
    }

    /// A filter that gives `answer` to these calls and allows all others.
    static func make(
        answering calls: [CallRule], with answer: SeccompAnswer
    ) throws(SystemCallError) -> SeccompFilter {
        let filter = try make(standard: .allow)
        for call in calls { try filter.add(call, answer) }
        return filter
    }

    private static func make(standard: SeccompAnswer) throws(SystemCallError) -> SeccompFilter {
        guard let context = unsafe seccomp_init(standard.rawValue) else {
            throw SystemCallError("seccomp_init", code: ENOMEM)
        }
        let filter = unsafe SeccompFilter(context: context)
        try filter.set(SCMP_FLTATR_ACT_BADARCH, SeccompAnswer.kill.rawValue)
        // Whoever loads it has set no_new_privs, or may do without.
        try filter.set(SCMP_FLTATR_CTL_NNP, 0)
        return filter
    }

    private init(context: scmp_filter_ctx) {
        unsafe self.context = context
    }

    deinit {
        // SAFETY: the context of `init`, released once. The kernel has its own copy of the program.
        unsafe seccomp_release(context)
    }

    /// Puts the filter on this thread, beside those that are there; the most severe answer wins.
    func load() throws(SystemCallError) {
        try checked(unsafe seccomp_load(context), "seccomp_load")
    }

    /// The descriptor that hears of calls that were answered with `notify`; of the loaded filter.
    func listener() throws(SystemCallError) -> OwnedDescriptor {
        OwnedDescriptor(try checked(unsafe seccomp_notify_fd(context), "seccomp_notify_fd"))
    }

    private func set(_ attribute: scmp_filter_attr, _ value: UInt32) throws(SystemCallError) {
        try checked(unsafe seccomp_attr_set(context, attribute, value), "seccomp_attr_set")
    }

    private func add(_ call: CallRule, _ answer: SeccompAnswer) throws(SystemCallError) {
        let number = unsafe seccomp_syscall_resolve_name(call.name)
        guard number >= 0 else {
            throw SystemCallError("seccomp_syscall_resolve_name of \(call.name)", code: ENOSYS)
        }
        let comparisons = call.conditions.map(\.comparison)
        let result = unsafe seccomp_rule_add_array(
            context, answer.rawValue, number, UInt32(comparisons.count), comparisons)
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
