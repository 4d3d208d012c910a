import DriverConformance
import GuestModel
import Hypervisor
import HypervisorMSHV
import Testing

@Suite(.enabled(if: MSHVHost.isUsable, Comment(rawValue: MSHVHost.reason)))
struct ConformanceTests {
    @Test(arguments: ConformanceCase.cases(for: MSHVHost.capabilities))
    func `MSHV with a register page keeps the contract`(_ rule: ConformanceCase) throws {
        try check(rule, usesRegisterPage: true)
    }

    @Test(arguments: ConformanceCase.cases(for: MSHVHost.capabilities))
    func `MSHV by hypercalls alone keeps the contract`(_ rule: ConformanceCase) throws {
        try check(rule, usesRegisterPage: false)
    }

    @Test(.enabled(if: notRun == nil, Comment(rawValue: notRun ?? "")))
    func `this machine's hypervisor can run every case`() {}

    private static let notRun = ConformanceCase.notRun(
        on: "this hypervisor", with: MSHVHost.capabilities)

    /// Where a CPU does otherwise than the contract says, and why the driver leaves it at that.
    private static let deviations: [String: Comment] = [
        "a step into an exception ends at its handler":
            "delivery clears TF, so the step ends behind the handler's first instruction or later",
        "a software interrupt is delivered and returned from":
            "a KVM that emulates ring 0, below the shim, does not know INT",
    ]

    private func check(_ rule: ConformanceCase, usesRegisterPage: Bool) throws {
        func run() throws {
            try rule.run { try MSHVHost.makeMachine(usesRegisterPage: usesRegisterPage) }
        }
        guard let deviation = Self.deviations[rule.name] else { return try run() }
        withKnownIssue(deviation, isIntermittent: !MSHVHost.capabilities.isLimited) { try run() }
    }
}
