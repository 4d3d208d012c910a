import CSeccomp
import Foundation
import Glibc
import GuestModel
import LinuxSystem
import Testing

@testable import Jail

/// What the filter of each role does to a real process.
@Suite struct SeccompTests {
    @Test(arguments: ForbiddenCalls.all)
    func `a way out of the jail is closed`(_ call: CallCase) throws {
        try #require(call.number >= 0)
        let end = try ProbeRun.end([call.role.rawValue, "call", "\(call.number)"] + call.arguments)
        #expect(end == ProbeRun.killed)
    }

    @Test(arguments: ProbeRole.allCases)
    func `N9: every rule holds on both of its sides`(_ role: ProbeRole) throws {
        // Made by hand these two end the process in their own way.
        let special: [String: ProcessEnd] = [
            "exit_group": .exited(0), "rt_sigreturn": .signal(SIGSEGV),
        ]
        let cases = RuleCases.all.filter { $0.role == role }
        var wrong: [String] = []
        for call in cases {
            let end = try ProbeRun.end([role.rawValue, "call", "\(call.number)"] + call.arguments)
            let passed = special[call.name] ?? ProbeRun.survived
            if end != (call.isAllowed ? passed : ProbeRun.killed) {
                wrong.append("\(call.testDescription), but \(end.map { "\($0)" } ?? "hung")")
            }
        }
        #expect(wrong == [])
        let allowed = cases.filter(\.isAllowed).count
        print("N9: \(role): \(allowed) calls inside and \(cases.count - allowed) outside the rules")
        #expect(allowed > 20 && cases.count - allowed > 100)
    }

    /// uretprobe and uprobe: the kernel exempts them from every filter and lets them work only
    /// where it put them itself.
    private static let exempt: Set<Int32> = [335, 336]
    private static let allNumbers = Set((0...462)).union(512...547).subtracting(exempt)

    private func forbiddenNumbers(_ role: ProbeRole) -> [Int32] {
        let allowed = role.rules(processID: 1).map { seccomp_syscall_resolve_name($0.name) }
        return Self.allNumbers.subtracting(allowed).sorted()
    }

    @Test(arguments: ProbeRole.allCases)
    func `N8: every call number that is on no list is killed`(_ role: ProbeRole) throws {
        // A filter that kills everything would pass as well; `work` is the control.
        #expect(try ProbeRun.end([role.rawValue, "work"]) == ProbeRun.survived)
        let numbers = forbiddenNumbers(role)
        let survivors = try numbers.filter {
            try ProbeRun.end([role.rawValue, "call", "\($0)"]) != ProbeRun.killed
        }
        #expect(survivors == [])
        print("N8: \(role): \(numbers.count - survivors.count) of \(numbers.count) numbers killed")
    }

    /// Whether somebody outside answers some calls before our filters can ask about them.
    private static let isUnderFilter =
        (try? ProcessStatus.read(processID: getpid()))?.seccompMode != 0

    @Test(
        .enabled(if: !isUnderFilter, "a filter around the tests answers some calls itself"),
        arguments: ProbeRole.allCases)
    func `N8: a filter that reports names every such number and lets none through`(
        _ role: ProbeRole
    ) throws {
        let plan = "\(role)/strict,born=0,enters=0,diagnose"
        #expect(try Probe([plan, "work"]).reportedOutcome() == .ended(ProbeRun.survived))
        // The way out that it needed for its listener is closed again, without a question.
        let names: [String] = ["sendmsg", "seccomp"]
        let closed = names.reduce(into: Set<Int32>()) {
            $0.insert(seccomp_syscall_resolve_name($1))
        }
        let numbers = forbiddenNumbers(role)
        let wrong = try numbers.filter { number in
            let outcome = try Probe([plan, "call", "\(number)"]).reportedOutcome()
            return outcome
                != (closed.contains(number) ? .ended(ProbeRun.killed) : .waits(number))
        }
        #expect(wrong == [])
        print("N8: \(role), reporting: \(numbers.count - wrong.count) of \(numbers.count) numbers")
    }

    @Test(arguments: ProbeRun.roles)
    func `calls of other architectures are killed`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "i386"]) == ProbeRun.killed)
        let getpidOfX32 = 0x4000_0000 + 39
        #expect(try ProbeRun.end([role, "call", "\(getpidOfX32)"]) == ProbeRun.killed)
        let reporting = "\(role)/strict,born=0,enters=0,diagnose"
        #expect(try Probe([reporting, "i386"]).reportedOutcome() == .ended(ProbeRun.killed))
    }

    @Test(arguments: ProbeRun.roles)
    func `ordinary work of a Swift program goes on`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "work"]) == ProbeRun.survived)
    }

    @Test(arguments: ProbeRun.roles)
    func `a bug of ours ends as a trap and not as a forbidden call`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "trap"]) == .signal(SIGILL))
    }

    @Test(arguments: ProbeRun.roles)
    func `an abort of the C library ends as one`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "abort"]) == .signal(SIGABRT))
        guard getuid() == 0 else { return }
        // As the first process of a PID namespace, which its own signals do not reach.
        let first = try Probe([role, "abort"], namespaces: .pid)
        #expect(first.waitForEnd() == .signal(SIGSEGV))
    }

    @Test(arguments: ProbeRun.roles)
    func `nobody executes memory that it made in the jail`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "compile"]) == ProbeRun.killed)
        #expect(try ProbeRun.end(["free", "compile"]) == ProbeRun.survived)
    }

    @Test(arguments: ProbeRun.roles)
    func `in profile developer a forbidden call is made`(_ role: String) throws {
        let socket = seccomp_syscall_resolve_name("socket")
        let plan = "\(role)/developer,born=0,enters=0"
        #expect(try ProbeRun.end([plan, "call", "\(socket)", "1", "1", "0"]) == ProbeRun.survived)
    }

    @Test(.enabled(if: getuid() == 0, "only root can become another user"))
    func `a plain user can confine itself too`() throws {
        #expect(try ProbeRun.end(["worker@nobody", "work"]) == ProbeRun.survived)
        let socket = seccomp_syscall_resolve_name("socket")
        #expect(try ProbeRun.end(["stub@nobody", "call", "\(socket)"]) == ProbeRun.killed)
    }

    /// A longer list is a decision: change the golden file together with the reason in the policy.
    @Test(
        .enabled(if: !isSanitized, "a build with a sanitizer has exceptions"),
        arguments: ProbeRole.allCases)
    func `N7: a list does not change unnoticed`(_ role: ProbeRole) throws {
        let rules = role.rules(processID: 4711)
        let text = rules.map { $0.text + "\n" }.sorted().joined()
        let names = Set(rules.map(\.name))
        print("N7: \(role): \(names.count) calls, \(rules.count) rules")
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Golden/\(role).txt")
        #expect(try String(contentsOf: file, encoding: .utf8) == text, "\(text)")
        #expect(SeccompPolicy.sanitizer == [])
    }

    // MARK: The stand-in for the Microsoft hypervisor

    /// KVM_RUN on the vCPU's descriptor.
    private static let runKVM = ["call", "16", "8", "\(0xAE80)", "0"]
    /// MSHV_RUN_VP on the same.
    private static let runMSHV = ["call", "16", "8", "\(0x8100_B800)", "0"]
    private static let shim = ["HYPERLIGHT_TEST_MSHV_SHIM=/somewhere/libmshv-shim.so"]

    @Test func `a worker of one hypervisor makes no requests of another`() throws {
        #expect(try ProbeRun.end(["worker"] + Self.runKVM) == ProbeRun.survived)
        #expect(try ProbeRun.end(["worker"] + Self.runMSHV) == ProbeRun.killed)
        #expect(try ProbeRun.end(["mshv"] + Self.runMSHV) == ProbeRun.survived)
        #expect(try ProbeRun.end(["mshv"] + Self.runKVM) == ProbeRun.killed)
    }

    @Test func `only a build for debugging lets a test put KVM below MSHV`() throws {
        #expect(
            try ProbeRun.end(["mshv"] + Self.runKVM, environment: Self.shim)
                == (isDebugBuild ? ProbeRun.survived : ProbeRun.killed))
        // And nothing but what the stand-in needs.
        let createVM = ["call", "16", "8", "\(0xAE01)", "0"]
        #expect(
            try ProbeRun.end(["mshv"] + createVM, environment: Self.shim) == ProbeRun.killed)
        let open = ["call", "257", "-100", "@path", "0"]
        #expect(try ProbeRun.end(["mshv"] + open, environment: Self.shim) == ProbeRun.killed)
    }

    @Test(arguments: ProbeRole.allCases.filter { $0 != .mshv })
    func `the variable of the stand-in changes nothing for others`(_ role: ProbeRole) throws {
        #expect(
            try ProbeRun.end([role.rawValue] + Self.runMSHV, environment: Self.shim)
                == ProbeRun.killed)
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
    let isSanitized = true
#else
    let isSanitized = false
#endif

#if DEBUG
    private let isDebugBuild = true
#else
    private let isDebugBuild = false
#endif

private let isAddressSanitized = dlsym(nil, "__asan_init") != nil
