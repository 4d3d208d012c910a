import Glibc

/// The system calls each role may make; what stands in no list ends the process.
///
/// Absent on purpose: everything that makes a descriptor out of a name or an address (open, socket,
/// connect, bind), processes and threads (clone, execve, ptrace), `recvmsg` and `sendmsg` (so that no
/// descriptor enters or leaves), `read`, `rt_sigaction` and `prctl`.
enum SeccompPolicy {
    /// The whole list of `role` for the process with this id.
    static func calls(of role: ConfinedRole, processID: Int32) -> [AllowedCall] {
        switch role {
        case .workerKVM: common(processID) + plainMemory + worker(processID) + kvm + sanitizer
        case .workerEmulator: common(processID) + compilerMemory + worker(processID) + sanitizer
        case .stub: common(processID) + plainMemory + stub + sanitizer
        }
    }

    private static func common(_ processID: Int32) -> [AllowedCall] {
        [
            AllowedCall("exit"),
            AllowedCall("exit_group"),
            AllowedCall("rt_sigreturn"),
            AllowedCall("rt_sigprocmask"),
            // After SIGSTOP and SIGCONT the kernel goes on with a poll through this call.
            AllowedCall("restart_syscall"),
            AllowedCall("sched_yield"),
            AllowedCall("futex"),
            AllowedCall("getpid"),
            AllowedCall("gettid"),
            // abort(): a bug of ours ends as SIGABRT, not as SIGSYS.
            AllowedCall("tgkill", .int(0, processID)),
            // Normally answered without the kernel, but not with every clock source.
            AllowedCall("clock_gettime"),
            AllowedCall("getrandom"),
            AllowedCall("brk"),
            AllowedCall("munmap"),
            AllowedCall("mprotect", .flags(2, required: 0, optional: PROT_READ | PROT_WRITE)),
            AllowedCall("mremap", .flags(3, required: 0, optional: mayMove)),
            AllowedCall("poll", .atMost(1, polledMax)),
            AllowedCall("ppoll", .atMost(1, polledMax)),
            AllowedCall("recvfrom", .flags(3, required: receiveFlags), .null(4)),
            AllowedCall("sendto", .flags(3, required: sendFlags), .null(4)),
            AllowedCall("close"),
            AllowedCall("write", .int(0, STDERR_FILENO)),
        ]
    }

    /// MREMAP_MAYMOVE, which Swift's Glibc module lacks.
    private static let mayMove: Int32 = 1
    /// Descriptors in one poll, with room to spare.
    private static let polledMax: UInt64 = 16
    private static let receiveFlags = Int32(MSG_DONTWAIT)
    private static let sendFlags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)
    private static let anonymous = MAP_PRIVATE | MAP_ANONYMOUS
    private static let harmless = MAP_NORESERVE | MAP_STACK

    /// Anonymous memory that can never be executed.
    private static let plainMemory = [
        map(protection: PROT_READ | PROT_WRITE),
        AllowedCall("madvise", .int(2, MADV_DONTNEED)),
    ]

    /// The same, and executable if it is so from its first moment, as the emulator's code buffer is;
    /// still nothing that has a file behind it.
    private static let compilerMemory = [
        map(protection: PROT_READ | PROT_WRITE | PROT_EXEC), AllowedCall("madvise"),
    ]

    private static func map(protection: Int32) -> AllowedCall {
        AllowedCall(
            "mmap", .flags(2, required: 0, optional: protection),
            .flags(3, required: anonymous, optional: harmless))
    }

    /// Accepting a connection on one listening socket, without asking who it is.
    static func accept(on listener: Int32) -> AllowedCall {
        AllowedCall(
            "accept4", .int(0, listener), .null(1), .null(2),
            .flags(3, required: Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)))
    }
}
