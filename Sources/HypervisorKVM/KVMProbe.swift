package import GuestModel
package import Hypervisor
package import LinuxSystem

/// Finds out what this machine's KVM can do by running a few instructions.
package enum KVMProbe {
    /// What was seen to work; about 10 ms where KVM is slow.
    /// - Throws: when KVM cannot make a machine or run even one instruction.
    package static func run(
        device: borrowing OwnedDescriptor
    ) throws(HypervisorError) -> DriverCapabilities {
        let cpuid = try KVMCPUIDTable(supportedBy: device)
        return try InstructionProbe.run("KVM") { () throws(HypervisorError) in
            try KVMMachine(
                borrowing: device, capabilities: [.complete, .watchpoints, .avx],
                supportedCPUID: cpuid)
        }
    }
}
