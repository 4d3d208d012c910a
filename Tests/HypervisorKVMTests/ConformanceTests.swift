import DriverConformance
import GuestModel
import Hypervisor
import HypervisorKVM
import Testing

@Suite(.enabled("no usable /dev/kvm on this machine") { KVMHost.isUsable })
struct ConformanceTests {
    @Test(arguments: ConformanceCase.cases(for: KVMHost.capabilities))
    func `KVM with shared registers keeps the contract`(_ rule: ConformanceCase) throws {
        try check(rule, usesSharedRegisters: true)
    }

    @Test(arguments: ConformanceCase.cases(for: KVMHost.capabilities))
    func `KVM without shared registers keeps the contract`(_ rule: ConformanceCase) throws {
        try check(rule, usesSharedRegisters: false)
    }

    @Test(.enabled(if: notRun == nil, Comment(rawValue: notRun ?? "")))
    func `this machine's KVM can run every case`() {}

    private static let notRun = ConformanceCase.notRun(
        on: "this KVM", with: KVMHost.capabilities)

    /// Where KVM does otherwise than the contract says, and why the driver leaves it at that.
    private static let deviations: [String: Comment] = [
        "a step into an exception ends at its handler":
            "delivery clears TF, so the step ends behind the handler's first instruction or later",
        "a software interrupt is delivered and returned from":
            "a KVM that emulates ring 0 does not know INT",
        "after a step over HLT the guest runs on":
            "a KVM that emulates ring 0 notes the halt and ends the next run with it",
    ]

    private func check(_ rule: ConformanceCase, usesSharedRegisters: Bool) throws {
        func run() throws {
            try rule.run { try KVMHost.makeMachine(usesSharedRegisters: usesSharedRegisters) }
        }
        guard let deviation = Self.deviations[rule.name] else { return try run() }
        withKnownIssue(deviation, isIntermittent: !KVMHost.capabilities.isLimited) { try run() }
    }
}
