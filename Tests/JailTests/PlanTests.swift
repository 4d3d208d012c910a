import GuestModel
import Testing

@testable import Jail

@Suite struct PlanTests {
    private static let plans = [
        JailPlan(profile: .container),
        JailPlan(profile: .developer, reportsViolations: true),
        JailPlan(
            profile: .strict, bornIn: [.pid, .user], enters: .entered, identity: .max,
            addressSpaceBytes: .max, reportsViolations: true),
        JailPlan(profile: .strict, identity: 0, addressSpaceBytes: 0),
    ]

    @Test(arguments: plans)
    func `a plan is the same behind the command line`(_ plan: JailPlan) {
        #expect(JailPlan(argument: plan.argument) == plan)
    }

    @Test(arguments: [
        "", "strict", "loose,born=0,enters=0", "strict,born=0", "strict,born=256,enters=0",
        "strict,born=0,enters=0,", "strict,born=0,enters=0,user=-1", "strict,born=0,enters=0,user=",
        "strict,born=0,enters=0,user=4294967296", "strict,enters=0,born=0",
        "strict,born=0,enters=0,memory=18446744073709551616", "strict,born=0,enters=0,diagnose=1",
        "strict,born=0,enters=0,nonsense", "strict,born=00,enters=0",
    ])
    func `anything else is no plan`(_ text: String) {
        #expect(JailPlan(argument: text) == nil)
    }
}

@Suite struct AuditTests {
    /// As the kernel writes it for a strict worker with KVM.
    private static let strictStatus = """
        Name:\thyperlight-work
        Uid:\t1879048192\t1879048192\t1879048192\t1879048192
        Gid:\t1879048192\t1879048192\t1879048192\t1879048192
        Groups:\t 
        NSpid:\t4711\t1
        Threads:\t2
        CapInh:\t0000000000000000
        CapPrm:\t0000000000000000
        CapEff:\t0000000000000000
        CapBnd:\t0000000000000000
        CapAmb:\t0000000000000000
        NoNewPrivs:\t1
        Seccomp:\t2
        Seccomp_filters:\t1

        """

    private static let rootStatus = """
        Uid:\t0\t0\t0\t0
        Gid:\t0\t0\t0\t0
        Groups:\t0 
        NSpid:\t99
        Threads:\t7
        CapInh:\t0000000000000000
        CapPrm:\t00000000002001e0
        CapEff:\t00000000002001e0
        CapBnd:\t00000000002001e0
        CapAmb:\t0000000000000000
        NoNewPrivs:\t0
        Seccomp:\t0
        Seccomp_filters:\t0

        """

    private static let plan = JailPlan(
        profile: .strict, bornIn: .pid, enters: .entered, identity: 1_879_048_192)

    private func mismatches(
        _ status: String, role: ConfinedRole = .workerKVM, plan: JailPlan = plan,
        report: ConfinementReport = ConfinementReport()
    ) throws -> [String] {
        JailAudit.mismatches(
            of: try #require(ProcessStatus(text: status)), role: role, plan: plan, report: report,
            own: try #require(ProcessStatus(text: Self.rootStatus)))
    }

    @Test func `a child that is confined as planned passes`() throws {
        #expect(try mismatches(Self.strictStatus) == [])
    }

    @Test(arguments: [
        (
            "Uid:\t1879048192\t1879048192\t1879048192\t1879048192",
            "Uid:\t1879048192\t0\t1879048192\t1879048192", "user ids"
        ),
        ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001", "inheritable"),
        ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000200000", "permitted"),
        ("CapEff:\t0000000000000000", "CapEff:\t0000000000200000", "effective"),
        ("CapBnd:\t0000000000000000", "CapBnd:\t0000000000000020", "bounding"),
        ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", "ambient"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "no_new_privs"),
        ("Seccomp:\t2", "Seccomp:\t0", "seccomp mode 0"),
        ("Seccomp_filters:\t1", "Seccomp_filters:\t0", "0 filters"),
        ("Threads:\t2", "Threads:\t3", "3 threads"),
        ("NSpid:\t4711\t1", "NSpid:\t4711", "PID namespace"),
        ("Groups:\t ", "Groups:\t0 ", "supplementary groups"),
        (
            "Gid:\t1879048192\t1879048192\t1879048192\t1879048192",
            "Gid:\t1879048192\t1879048192\t0\t1879048192", "group ids"
        ),
    ])
    func `each line that is not as planned is told`(
        _ right: String, _ wrong: String, _ word: String
    ) throws {
        let found = try mismatches(Self.strictStatus.replacing(right, with: wrong))
        #expect(found.count == 1 && found[0].contains(word), "\(found)")
    }

    @Test func `what the child could not have is not looked for`() throws {
        let status = Self.strictStatus.replacing(
            "Uid:\t1879048192\t1879048192\t1879048192\t1879048192", with: "Uid:\t0\t0\t0\t0")
        let report = ConfinementReport(
            missing: [MissingMeasure(.user, step: "setresuid", code: 1)])
        #expect(try mismatches(status, report: report) == [])
        #expect(try mismatches(status).count == 1)
    }

    @Test func `only a worker with KVM has the kernel's thread`() throws {
        #expect(try mismatches(Self.strictStatus, role: .stub) == ["2 threads"])
        #expect(try mismatches(Self.strictStatus, role: .workerEmulator) == ["2 threads"])
    }

    @Test func `a reporting filter is two filters`() throws {
        var plan = Self.plan
        plan.reportsViolations = true
        #expect(try mismatches(Self.strictStatus, plan: plan).count == 1)
        let status = Self.strictStatus.replacing("Seccomp_filters:\t1", with: "Seccomp_filters:\t2")
        #expect(try mismatches(status, plan: plan) == [])
    }

    @Test(arguments: ["Uid", "Gid", "Groups", "CapBnd", "NoNewPrivs", "Seccomp", "Threads"])
    func `a status without a line is none`(_ name: String) {
        let lines = Self.strictStatus.split(separator: "\n", omittingEmptySubsequences: false)
        let text = lines.filter { !$0.hasPrefix(name + ":") }.joined(separator: "\n")
        #expect(ProcessStatus(text: text) == nil)
    }
}
