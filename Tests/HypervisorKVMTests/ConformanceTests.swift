import DriverConformance
import GuestModel
import Hypervisor
import HypervisorKVM
import Testing

@Suite(.enabled("no usable /dev/kvm on this machine") { KVMHost.isUsable })
struct ConformanceTests {
    @Test(arguments: ConformanceCase.all)
    func `KVM with shared registers keeps the contract`(_ rule: ConformanceCase) throws {
        try check(rule, usesSharedRegisters: true)
    }

    @Test(arguments: ConformanceCase.all)
    func `KVM without shared registers keeps the contract`(_ rule: ConformanceCase) throws {
        try check(rule, usesSharedRegisters: false)
    }

    private func check(_ rule: ConformanceCase, usesSharedRegisters: Bool) throws {
        let missing = rule.needs.subtracting(try KVMHost.probed.get())
        guard missing.isEmpty else {
            try Test.cancel("this machine's KVM lacks what the case needs")
        }
        try rule.run { try KVMHost.makeMachine(usesSharedRegisters: usesSharedRegisters) }
    }
}
