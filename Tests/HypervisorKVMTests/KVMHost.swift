// HypervisorKVMTests: the driver contract on this machine's KVM, and what only this driver promises.
//
// Without /dev/kvm the suites that need it are skipped and say so. Start with
// `ConformanceTests.swift`; machine code for the other tests is in `KVMGuest.swift`.

import GuestModel
import Hypervisor
import HypervisorKVM
import LinuxSystem

/// This machine's KVM, looked at once.
enum KVMHost {
    /// What the probe found, or why KVM cannot be used here.
    static let probed: Result<DriverCapabilities, any Error> = Result {
        try KVMProbe.run(device: try openDevice("/dev/kvm"))
    }

    static var isUsable: Bool {
        switch probed {
        case .success: true
        case .failure: false
        }
    }

    /// Nothing where KVM cannot be used.
    static var capabilities: DriverCapabilities { (try? probed.get()) ?? [] }

    /// One table for all tests: reading it is the slowest part of a machine.
    private static let cpuid = Result {
        try KVMCPUIDTable(supportedBy: try openDevice("/dev/kvm"))
    }

    /// A machine with what this KVM can do, or as if it could do something else.
    static func makeMachine(
        usesSharedRegisters: Bool = true, capabilities: DriverCapabilities? = nil,
        numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws -> KVMMachine {
        try KVMMachine(
            borrowing: try openDevice("/dev/kvm"),
            capabilities: try capabilities ?? probed.get(),
            supportedCPUID: try cpuid.get(), usesSharedRegisters: usesSharedRegisters,
            numbers: numbers)
    }
}
