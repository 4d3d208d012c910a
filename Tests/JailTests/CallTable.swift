import CSeccomp
import Testing

/// One system call tried by a confined probe.
struct CallCase: Sendable, CustomTestStringConvertible {
    let role: String
    let name: String
    let arguments: [String]
    let isAllowed: Bool

    var testDescription: String {
        "\(role): \(name)(\(arguments.joined(separator: ", "))) \(isAllowed ? "passes" : "is killed")"
    }

    /// The number of the call on this architecture.
    var number: Int32 { seccomp_syscall_resolve_name(name) }
}

/// Calls in the words of the manual; numbers are flags and request codes as the kernel has them.
enum CallTable {
    /// Each ends the process in every role.
    static let forbidden: [CallCase] = ProbeRun.roles.flatMap { role in
        forbiddenTexts.map { CallCase(role: role, text: $0, isAllowed: false) }
    }

    /// Each argument rule from both sides.
    static let rules: [CallCase] =
        ProbeRun.roles.flatMap { role in
            commonRules.map { CallCase(role: role, text: $0.0, isAllowed: $0.1) }
        }
        + roleRules.map { CallCase(role: $0.0, text: $0.1, isAllowed: $0.2) }

    private static let forbiddenTexts = [
        // Descriptors out of names and addresses
        "open @path 0", "openat -100 @path 0", "creat @path 0", "openat2 -100 @path @buffer 24",
        "open_by_handle_at 3 @buffer 0", "memfd_create @path 0", "socket 1 1 0",
        "socketpair 1 1 0 @buffer", "connect 3 @buffer 16", "bind 3 @buffer 16", "listen 3 1",
        "pipe @buffer", "eventfd2 0 0", "dup 0", "dup2 0 9", "pidfd_open @parent 0",
        "pidfd_getfd 3 0 0", "recvmsg 3 @buffer 0", "sendmsg 3 @buffer 0",
        // Processes and threads
        "execve @path 0 0", "execveat -100 @path 0 0 0", "fork", "vfork", "clone 17 0 0 0 0",
        "clone3 @buffer 88", "ptrace 16 @parent 0 0", "kill @parent 0", "tkill @parent 0",
        "process_vm_readv @parent @buffer 0 0 0 0", "process_vm_writev @parent @buffer 0 0 0 0",
        // Rights
        "prctl 38 1 0 0 0", "seccomp 1 0 @buffer", "setuid 0", "setresuid 0 0 0",
        "capset @buffer 0",
        "unshare 268435456", "setns 3 0", "mount @path @path 0 0 0", "chroot @path",
        "prlimit64 0 7 0 @buffer", "setrlimit 7 @buffer", "rt_sigaction 14 0 @buffer 8",
        // Kernel surface
        "bpf 0 @buffer 0", "io_uring_setup 1 @buffer", "userfaultfd 0", "perf_event_open @buffer",
        "keyctl 0 0 0 0 0", "add_key @path @path 0 0 0", "landlock_create_ruleset 0 0 1",
        // Files
        "read 3 @buffer 1", "readv 3 @buffer 0", "write 1 @buffer 1", "write 3 @buffer 1",
        "writev 2 @buffer 0", "stat @path @buffer", "newfstatat 3 @buffer @buffer 4096",
        "unlink @path", "readlink @path @buffer 8",
    ]

    private static let commonRules: [(String, Bool)] = [
        ("write 2 @buffer 0", true),
        ("getpid", true),
        ("clock_gettime 1 @buffer", true),
        ("sched_yield", true),
        ("close 9", true),
        ("tgkill @pid @pid 0", true),
        ("tgkill @parent @parent 0", false),
        // PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS; then shared, then a file's
        ("mmap 0 4096 3 34 -1 0", true),
        ("mmap 0 4096 3 33 -1 0", false),
        ("mmap 0 4096 1 2 3 0", false),
        ("mmap 0 4096 5 2 3 0", false),
        ("mprotect 0 0 3", true),
        ("mprotect 0 0 5", false),
        ("mremap 4096 4096 8192 1", true),
        ("mremap 4096 4096 8192 3 0", false),
        ("madvise 0 0 4", true),
        ("poll @buffer 0 0", true),
        ("poll @buffer 17 0", false),
        ("ppoll @buffer 0 @buffer 0 8", true),
        ("ppoll @buffer 17 @buffer 0 8", false),
        // MSG_DONTWAIT, and with MSG_NOSIGNAL
        ("recvfrom 3 @buffer 1 64 0 0", true),
        ("recvfrom 3 @buffer 1 0 0 0", false),
        ("recvfrom 3 @buffer 1 64 @buffer @buffer", false),
        ("sendto 3 @buffer 1 16448 0 0", true),
        ("sendto 3 @buffer 1 64 0 0", false),
        ("sendto 3 @buffer 1 16448 @buffer 16", false),
        // SOCK_CLOEXEC|SOCK_NONBLOCK, no address
        ("accept4 4 0 0 526336", true),
        ("accept4 4 0 0 0", false),
        ("accept4 4 @buffer @buffer 526336", false),
        ("accept4 3 0 0 526336", false),
        // SOL_SOCKET SO_PEERCRED; SO_TYPE
        ("getsockopt 3 1 17 @buffer @buffer", true),
        ("getsockopt 3 1 3 @buffer @buffer", false),
        ("ioctl 2 21505 @buffer", false),
    ]

    private static let roleRules: [(String, String, Bool)] = [
        // Executable anonymous memory belongs to the emulator alone.
        ("worker", "mmap 0 4096 7 34 -1 0", false),
        ("stub", "mmap 0 4096 7 34 -1 0", false),
        ("emulator", "mmap 0 4096 7 34 -1 0", true),
        // MADV_HUGEPAGE
        ("worker", "madvise 0 0 14", false),
        ("emulator", "madvise 0 0 14", true),
        // KVM_RUN, KVM_SET_USER_MEMORY_REGION; KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_IRQFD
        ("worker", "ioctl 4 44672 0", true),
        ("worker", "ioctl 4 1075883590 0", true),
        ("worker", "ioctl 4 44545 0", false),
        ("worker", "ioctl 4 44609 0", false),
        ("worker", "ioctl 4 1075883638 0", false),
        ("emulator", "ioctl 4 44672 0", false),
        ("stub", "ioctl 4 44672 0", false),
        // F_GETFL, F_SETFL O_NONBLOCK|O_ASYNC, F_SETOWN; O_APPEND, F_DUPFD, F_SETSIG, F_SETFD
        ("worker", "fcntl 3 3 0", true),
        ("worker", "fcntl 3 4 10240", true),
        ("worker", "fcntl 3 4 1024", false),
        ("worker", "fcntl 3 8 @pid", true),
        ("worker", "fcntl 3 8 @parent", false),
        ("worker", "fcntl 3 0 0", false),
        ("worker", "fcntl 3 10 0", false),
        ("worker", "fcntl 3 2 0", false),
        ("stub", "fcntl 3 3 0", false),
        // ITIMER_REAL, ITIMER_PROF
        ("worker", "setitimer 0 @buffer 0", true),
        ("worker", "setitimer 2 @buffer 0", false),
        ("stub", "setitimer 0 @buffer 0", false),
        ("worker", "accept4 5 0 0 526336", false),
        ("stub", "accept4 5 0 0 526336", true),
        ("stub", "accept4 6 0 0 526336", false),
        // SO_ERROR; TCP_NODELAY, which connections inherit
        ("stub", "getsockopt 3 1 4 @buffer @buffer", true),
        ("worker", "getsockopt 3 1 4 @buffer @buffer", false),
        ("stub", "setsockopt 3 6 1 @buffer 4", false),
        ("worker", "setsockopt 3 6 1 @buffer 4", false),
        ("stub", "getpeername 3 @buffer @buffer", true),
        ("stub", "getsockname 3 @buffer @buffer", true),
        ("stub", "shutdown 3 2", true),
        ("worker", "shutdown 3 2", false),
    ]
}

extension CallCase {
    fileprivate init(role: String, text: String, isAllowed: Bool) {
        let words = text.split(separator: " ").map(String.init)
        self.init(
            role: role, name: words[0], arguments: Array(words.dropFirst()), isAllowed: isAllowed)
    }
}
