import CSeccomp
import Testing

@testable import Jail

/// A role as the probe, the policy and the golden lists name it.
enum ProbeRole: String, CaseIterable, Sendable {
    case worker, mshv, emulator, stub

    var role: ConfinedRole {
        switch self {
        case .worker: .workerKVM
        case .mshv: .workerMSHV
        case .emulator: .workerEmulator
        case .stub: .stub
        }
    }

    /// The role's list for the probe, in which `processID` is the number of a process.
    func rules(processID: Int32) -> [CallRule] {
        SeccompPolicy.calls(of: role, processID: processID)
    }
}

/// One system call tried by a confined probe.
struct CallCase: Sendable, CustomTestStringConvertible {
    let role: ProbeRole
    let name: String
    /// Numbers, or words of the probe such as "@pid".
    let arguments: [String]
    let isAllowed: Bool

    var testDescription: String {
        "\(role): \(name)(\(arguments.joined(separator: ", "))) \(isAllowed ? "passes" : "is killed")"
    }

    /// The number of the call on this architecture.
    var number: Int32 { seccomp_syscall_resolve_name(name) }
}

/// Each rule of each list from both sides: the values it asks for, and for every condition values
/// just outside.
enum RuleCases {
    static let all: [CallCase] = ProbeRole.allCases.flatMap { cases(of: $0) }

    /// Stands for the probe's own process id, which no flag or request code is.
    private static let anyPID: Int32 = 0x6D5A_1234

    private static func cases(of role: ProbeRole) -> [CallCase] {
        let rules = role.rules(processID: anyPID)
        return rules.flatMap { rule -> [CallCase] in
            let right = rule.conditions.reduce(into: [UInt64](repeating: 0, count: 6)) {
                $0[Int($1.argument)] = $1.inside
            }
            let wrong = rule.conditions.flatMap { condition in
                condition.outside.map { value in
                    var values = right
                    values[Int(condition.argument)] = value
                    return values
                }
            }
            return ([right] + wrong).map { values in
                // What one rule refuses another of the same call may allow.
                CallCase(
                    role: role, name: rule.name, arguments: values.map(text),
                    isAllowed: rules.contains { $0.allows(rule.name, values) })
            }
        }
    }

    private static func text(_ value: UInt64) -> String {
        value == UInt64(anyPID) ? "@pid" : "\(Int64(bitPattern: value))"
    }
}

extension CallRule {
    func allows(_ name: String, _ arguments: [UInt64]) -> Bool {
        self.name == name
            && conditions.allSatisfy { $0.holds(for: arguments[Int($0.argument)]) }
    }

    /// As in the golden lists: "write(a0 & 0xffffffff == 0x2)".
    var text: String {
        "\(name)(\(conditions.map(\.text).joined(separator: ", ")))"
    }
}

extension ArgumentCondition {
    var argument: UInt32 {
        switch self {
        case .bits(let argument, _, _), .atMost(let argument, _): argument
        }
    }

    func holds(for value: UInt64) -> Bool {
        switch self {
        case .bits(_, let mask, let wanted): value & mask == wanted
        case .atMost(_, let limit): value <= limit
        }
    }

    /// A value for which it holds.
    var inside: UInt64 {
        switch self {
        case .bits(_, _, let value): value
        case .atMost(_, let limit): limit
        }
    }

    /// Values next to those for which it holds: every bit that matters, changed by itself.
    var outside: [UInt64] {
        switch self {
        case .bits(_, let mask, let value):
            (0..<64).filter { mask >> $0 & 1 == 1 }.map { value ^ (1 << UInt64($0)) }
        case .atMost(_, let limit): [limit + 1, 1 << 32, 1 << 32 | limit, .max]
        }
    }

    var text: String {
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        return switch self {
        case .bits(let argument, .max, let value): "a\(argument) == \(hex(value))"
        case .bits(let argument, let mask, let value):
            "a\(argument) & \(hex(mask)) == \(hex(value))"
        case .atMost(let argument, let limit): "a\(argument) <= \(limit)"
        }
    }
}

/// Calls that would take a process out of its jail; each ends the process in every role.
enum ForbiddenCalls {
    static let all: [CallCase] = ProbeRole.allCases.flatMap { role in
        texts.map { text in
            let words = text.split(separator: " ").map(String.init)
            return CallCase(
                role: role, name: words[0], arguments: Array(words.dropFirst()), isAllowed: false)
        }
    }

    private static let texts = [
        // Descriptors out of names and addresses
        "open @path 0", "openat -100 @path 0", "creat @path 0", "openat2 -100 @path @buffer 24",
        "open_by_handle_at 3 @buffer 0", "memfd_create @path 0", "socket 1 1 0",
        "socketpair 1 1 0 @buffer", "connect 3 @buffer 16", "bind 3 @buffer 16", "listen 3 1",
        "pipe @buffer", "eventfd2 0 0", "dup 0", "dup2 0 9", "pidfd_open @parent 0",
        "pidfd_getfd 3 0 0", "recvmsg 3 @buffer 0", "sendmsg 3 @buffer 0",
        // Processes and threads
        "execve @path 0 0", "execveat -100 @path 0 0 0", "fork", "vfork", "clone 17 0 0 0 0",
        "clone3 @buffer 88", "ptrace 16 @parent 0 0", "kill @parent 0", "tkill @parent 0",
        "tgkill @parent @parent 6", "tgkill @pid @pid 9",
        "process_vm_readv @parent @buffer 0 0 0 0", "process_vm_writev @parent @buffer 0 0 0 0",
        // Rights
        "prctl 38 1 0 0 0", "seccomp 1 0 @buffer", "setuid 0", "setresuid 0 0 0",
        "capset @buffer 0", "unshare 268435456", "setns 3 0", "mount @path @path 0 0 0",
        "chroot @path", "prlimit64 0 7 0 @buffer", "setrlimit 7 @buffer",
        "rt_sigaction 14 0 @buffer 8", "shutdown 4 2", "shutdown 5 0", "setsockopt 3 6 1 @buffer 4",
        // Kernel surface
        "bpf 0 @buffer 0", "io_uring_setup 1 @buffer", "userfaultfd 0", "perf_event_open @buffer",
        "keyctl 0 0 0 0 0", "add_key @path @path 0 0 0", "landlock_create_ruleset 0 0 1",
        "getrandom @buffer 8 0",
        // Files
        "read 3 @buffer 1", "pread64 3 @buffer 1 0", "pread64 4 @buffer 1 0", "fstat 7 @buffer",
        "lseek 7 0 0", "readv 3 @buffer 0", "write 1 @buffer 1", "write 3 @buffer 1",
        "writev 2 @buffer 0", "stat @path @buffer", "newfstatat 3 @buffer @buffer 4096",
        "unlink @path", "readlink @path @buffer 8",
        // KVM_CREATE_VM, KVM_CREATE_VCPU; TIOCGWINSZ
        "ioctl 8 44545 0", "ioctl 7 44609 0", "ioctl 2 21523 @buffer",
        // Code: of a file, and out of what was data
        "mmap 0 4096 5 2 3 0", "mmap 0 4096 1 2 3 0", "mprotect 0 0 5", "pkey_mprotect 0 0 5 0",
    ]
}
