// HypervisorEmulator: the driver for machines without a hypervisor, on Unicorn 2.1.4.
//
// Guest instructions are translated and executed in this process; guest memory is the caller's own
// (nothing is copied). Guest paging is the library's. What the library leaves out is here: exact port
// exits, delivery of exceptions through the guest's IDT, breakpoints, stops that are never lost.
// 64-bit ring 0 with paging only; one vCPU; no interrupts from outside, no devices.
//
// Start with `EmulatorVCPU.swift` (the run loop), then `ExceptionDelivery.swift`. The C target
// `CUnicorn` is reached through `Engine.swift` alone.

package import GuestModel
package import Hypervisor

/// A virtual machine that needs nothing of the host's hardware.
package final class EmulatorMachine: VirtualMachine {
    private let engine: Engine
    private let memory = GuestMemory()
    private let emulatorVCPU: EmulatorVCPU

    package let capabilities: DriverCapabilities = [.complete, .watchpoints]
    package let pinsMemory = false

    package var vcpu: any VirtualCPU { emulatorVCPU }

    /// A machine without memory.
    ///
    /// The engine has executed its first instructions when this returns: its executable memory is
    /// there, and later runs ask the system for none.
    /// - Throws: `.missing` when the library is not the one this driver was written for.
    package init() throws(HypervisorError) {
        engine = try Engine()
        emulatorVCPU = EmulatorVCPU(engine: engine, memory: memory)
    }

    /// How often watching memory has cost the guest time so far, for tests.
    package var watchCalls: UInt64 { engine.watchCalls }

    package func prepareForConfinement() {}

    package func map(_ region: MemoryRegion) throws(HypervisorError) {
        try memory.add(region)
        try engine.map(region)
    }
}
