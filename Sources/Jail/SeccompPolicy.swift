import Glibc
import LinuxSystem

/// The system calls each role may make; what stands in no list ends the process.
///
/// Absent on purpose: everything that makes a descriptor out of a name or an address (open, socket,
/// connect, bind), processes and threads (clone, execve, ptrace), `recvmsg` and `sendmsg` (so that no
/// descriptor enters or leaves), `read`, `rt_sigaction` and `prctl`.
enum SeccompPolicy {
    /// The whole list of `role` for the process with this id.
    static func calls(of role: ConfinedRole, processID: Int32) -> [CallRule] {
        switch role {
        case .workerKVM: common(processID) + worker(processID) + kvm + givingPagesBack + sanitizer
        case .workerMSHV: common(processID) + worker(processID) + mshv + sanitizer
        case .workerEmulator:
            common(processID) + worker(processID) + emulator + givingPagesBack + sanitizer
        case .stub: common(processID) + stub + sanitizer
        }
    }

    private static func common(_ processID: Int32) -> [CallRule] {
        [
            CallRule("exit_group"),
            // After SIGSTOP and SIGCONT the kernel goes on with a poll through this call.
            CallRule("restart_syscall"),
            // abort(): a bug of ours ends as SIGABRT, not as SIGSYS. The first process of a PID
            // namespace ignores its own signals; there abort goes on and ends as SIGSEGV.
            CallRule("rt_sigaction", .int(0, SIGABRT)),
            CallRule("rt_sigprocmask"),
            CallRule("getpid"),
            CallRule("gettid"),
            CallRule("tgkill", .int(0, processID), .int(2, SIGABRT)),
            // Initialising a global once wakes others that might wait for it; nobody does.
            CallRule("futex", .bits(1, mask: 0x7F, value: futexWake)),
            // Normally answered without the kernel, but not with every clock source. Larger numbers
            // are clocks of processes, also of others.
            CallRule("clock_gettime", .atMost(0, clockMax)),
            CallRule("brk"),
            CallRule("munmap"),
            // Anonymous memory that can never be executed. The emulator's code buffer is older than
            // its filter.
            CallRule(
                "mmap", .flags(2, required: 0, optional: PROT_READ | PROT_WRITE),
                .flags(3, required: anonymous, optional: harmless)),
            CallRule("poll", .atMost(1, polledMax)),
            CallRule(
                "recvfrom", .atMost(0, descriptorMax), .flags(3, required: receiveFlags), .null(4)),
            CallRule(
                "sendto", .atMost(0, descriptorMax), .flags(3, required: sendFlags), .null(4)),
            CallRule("close", .atMost(0, descriptorMax)),
            CallRule("write", .int(0, STDERR_FILENO)),
        ]
    }

    private static let futexWake: UInt64 = 1
    /// CLOCK_TAI, the last of the system's own.
    private static let clockMax: UInt64 = 11
    /// Descriptors in one poll; the stub has eight.
    private static let polledMax: UInt64 = 8
    private static let descriptorMax = openFilesMax - 1
    private static let receiveFlags = Int32(MSG_DONTWAIT)
    private static let sendFlags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)
    private static let anonymous = MAP_PRIVATE | MAP_ANONYMOUS
    private static let harmless = MAP_NORESERVE | MAP_STACK

    /// Accepting a connection on one listening socket, without asking who it is.
    static func accept(on listener: Int32) -> CallRule {
        CallRule(
            "accept4", .int(0, listener), .null(1), .null(2),
            .flags(3, required: Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)))
    }
}
