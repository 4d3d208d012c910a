// refuse: starts a program on a machine that lacks something.
//
//     refuse userns PROGRAM [ARGUMENT...]     without user namespaces, as hardened distributions have it
//     refuse landlock PROGRAM [ARGUMENT...]   without Landlock, as old kernels have it
//     refuse memory PROGRAM [ARGUMENT...]     without the memory that entering a Landlock domain takes
//
// A seccomp filter answers the calls with the error that such a machine gives; the program and all
// that it starts have it. Everything else works as before: root keeps its rights, no_new_privs stays off.

import CSeccomp
import Glibc

@main
enum Refuse {
    /// `EX_USAGE` and `EX_OSERR`; 127 as a shell says when the program does not start.
    private static let usage: Int32 = 64
    private static let noFilter: Int32 = 71
    private static let noProgram: Int32 = 127

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count >= 2, let rules = rules(refusing: arguments[0]) else { exit(usage) }
        guard load(rules) else {
            unsafe perror("refuse")
            exit(noFilter)
        }
        let program = Array(arguments.dropFirst())
        // SAFETY: the strings and the array of pointers live until the exec or the exit below.
        let words: [UnsafeMutablePointer<CChar>?] = unsafe program.map { unsafe strdup($0) } + [nil]
        _ = unsafe execvp(program[0], words)
        unsafe perror("refuse: \(program[0])")
        exit(noProgram)
    }

    /// One call and what it answers, always or with certain bits in one argument.
    private struct Rule {
        let name: String
        let error: Int32
        var bits: (argument: UInt32, mask: UInt64)?
    }

    private static let newUserNamespace: UInt64 = 0x1000_0000

    private static func rules(refusing what: String) -> [Rule]? {
        switch what {
        case "userns":
            [
                Rule(name: "unshare", error: EPERM, bits: (0, newUserNamespace)),
                Rule(name: "clone", error: EPERM, bits: (0, newUserNamespace)),
                // Its flags lie in memory, where no filter looks: the C library falls back to clone.
                Rule(name: "clone3", error: ENOSYS),
            ]
        case "landlock": [Rule(name: "landlock_create_ruleset", error: ENOSYS)]
        case "memory": [Rule(name: "landlock_restrict_self", error: ENOMEM)]
        default: nil
        }
    }

    private static func load(_ rules: [Rule]) -> Bool {
        guard let filter = unsafe seccomp_init(UInt32(SCMP_ACT_ALLOW)) else { return false }
        // SAFETY: the filter of `seccomp_init`, released once; the kernel has its own copy.
        defer { unsafe seccomp_release(filter) }
        // A plain user may load a filter only with no_new_privs.
        let needsNoNewPrivileges: UInt32 = geteuid() == 0 ? 0 : 1
        guard unsafe seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, needsNoNewPrivileges) == 0 else {
            return false
        }
        for rule in rules {
            // SCMP_ACT_ERRNO(x), a macro that Swift does not see.
            let action = 0x0005_0000 | UInt32(rule.error)
            let number = unsafe seccomp_syscall_resolve_name(rule.name)
            let conditions = rule.bits.map {
                [
                    scmp_arg_cmp(
                        arg: $0.argument, op: SCMP_CMP_MASKED_EQ, datum_a: $0.mask, datum_b: $0.mask
                    )
                ]
            }
            let list = conditions ?? []
            let result = unsafe seccomp_rule_add_array(
                filter, action, number, UInt32(list.count), list)
            guard result == 0 else { return false }
        }
        return unsafe seccomp_load(filter) == 0
    }
}
