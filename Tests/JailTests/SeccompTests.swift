import CSeccomp
import Glibc
import LinuxSystem
import Testing

@testable import Jail

/// What the filter of each role does to a real process.
@Suite struct SeccompTests {
    @Test(arguments: CallTable.forbidden + CallTable.rules)
    func `a call ends as the list says`(_ call: CallCase) throws {
        try #require(call.number >= 0)
        let end = try ProbeRun.end([call.role, "call", "\(call.number)"] + call.arguments)
        #expect(end == (call.isAllowed ? ProbeRun.survived : ProbeRun.killed))
    }

    @Test(arguments: [
        ("worker", ConfinedRole.workerKVM), ("emulator", .workerEmulator), ("stub", .stub),
    ])
    func `every call number that is on no list is killed`(_ name: String, role: ConfinedRole) throws
    {
        let calls = SeccompPolicy.calls(of: role, processID: 1)
        let allowed = Set(calls.map { seccomp_syscall_resolve_name($0.name) })
        // uretprobe and uprobe: the kernel exempts them from every filter and lets them work only
        // where it put them itself.
        let exempt: Set<Int32> = [335, 336]
        let numbers = Set((0...462)).union(512...547).subtracting(allowed).subtracting(exempt)
        // A filter that kills everything would pass as well; `work` is the control.
        #expect(try ProbeRun.end([name, "work"]) == ProbeRun.survived)
        let survivors = try numbers.sorted().filter {
            try ProbeRun.end([name, "call", "\($0)"]) != ProbeRun.killed
        }
        #expect(survivors == [])
    }

    @Test(arguments: ProbeRun.roles)
    func `calls of other architectures are killed`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "i386"]) == ProbeRun.killed)
        let getpidOfX32 = 0x4000_0000 + 39
        #expect(try ProbeRun.end([role, "call", "\(getpidOfX32)"]) == ProbeRun.killed)
    }

    @Test(arguments: ProbeRun.roles)
    func `ordinary work of a Swift program goes on`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "work"]) == ProbeRun.survived)
    }

    @Test(arguments: ProbeRun.roles)
    func `a bug of ours ends as a trap and not as a forbidden call`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "trap"]) == .signal(SIGILL))
    }

    @Test func `only the emulator executes memory that it wrote`() throws {
        #expect(try ProbeRun.end(["emulator", "compile"]) == ProbeRun.survived)
        #expect(try ProbeRun.end(["worker", "compile"]) == ProbeRun.killed)
        #expect(try ProbeRun.end(["stub", "compile"]) == ProbeRun.killed)
    }

    @Test(.enabled(if: getuid() == 0, "only root can become somebody else"))
    func `a plain user can confine itself too`() throws {
        #expect(try ProbeRun.end(["worker@nobody", "work"]) == ProbeRun.survived)
        let socket = seccomp_syscall_resolve_name("socket")
        #expect(try ProbeRun.end(["stub@nobody", "call", "\(socket)"]) == ProbeRun.killed)
    }

    /// A longer list is a decision: change the number together with the reason in the policy.
    @Test(arguments: [
        (ConfinedRole.workerKVM, 29), (.workerEmulator, 28), (.stub, 30),
    ])
    func `a list does not grow unnoticed`(_ role: ConfinedRole, count: Int) {
        let names = Set(SeccompPolicy.calls(of: role, processID: 1).map(\.name))
        // The sanitizers' builds have one more: sigaltstack.
        let extra = Set(SeccompPolicy.sanitizer.map(\.name)).contains("sigaltstack") ? 1 : 0
        #expect(names.count <= count + extra, "\(names.sorted())")
    }

    @Test(.enabled(if: !isSanitized, "a build with a sanitizer has exceptions"))
    func `what is shipped has no exceptions for sanitizers`() {
        #expect(SeccompPolicy.sanitizer == [])
    }

    /// Else a clean run under AddressSanitizer would say nothing of workers and stubs.
    @Test(
        .enabled(if: isAddressSanitized, "only with AddressSanitizer"), arguments: ProbeRun.roles)
    func `the sanitizer watches a confined process too`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "overrun"]) == .exited(1))
    }
}

/// Whether this build is one of `tools/test --sanitize`.
#if SANITIZED
    private let isSanitized = true
#else
    private let isSanitized = false
#endif

private let isAddressSanitized = dlsym(nil, "__asan_init") != nil
