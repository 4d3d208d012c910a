package import GuestModel
package import Hypervisor
package import LinuxSystem

/// Finds out what the Microsoft hypervisor can do on this machine by running a few instructions.
package enum MSHVProbe {
    /// What was seen to work.
    /// - Throws: when no partition can be made or it runs not even one instruction.
    package static func run(
        device: borrowing OwnedDescriptor
    ) throws(HypervisorError) -> DriverCapabilities {
        try InstructionProbe.run("Microsoft hypervisor") { () throws(HypervisorError) in
            try MSHVMachine(borrowing: device, capabilities: [.complete, .watchpoints, .avx])
        }
    }
}
