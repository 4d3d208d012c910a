// HypervisorMSHV: the driver for the Microsoft hypervisor, through Linux's /dev/mshv.
//
// One partition with one virtual processor behind the contract of `Hypervisor`. Registers travel
// through a page that the hypervisor shows while it is valid, else by hypercall; a debugger's work is
// done with the trap flag, the debug registers and intercepts of #DB and #BP. It decides nothing about
// debuggers or guest ABIs, opens no device and starts no thread. No part of it knows of KVM.
//
// Start with `MSHVVCPU.swift` (registers, running), then `MSHVVCPU+Exit.swift` (what came of it) and
// `DebugInterception.swift`. All numbers of the interface stand in `MSHVRequest.swift`,
// `MSHVLayout.swift` and `MSHVRegister.swift`.

import CLinux
import Glibc
package import GuestModel
package import Hypervisor
package import LinuxSystem

/// A partition of the Microsoft hypervisor.
@safe package final class MSHVMachine: VirtualMachine {
    package let capabilities: DriverCapabilities
    package var vcpu: any VirtualCPU { mshvVCPU }
    let mshvVCPU: MSHVVCPU

    let partition: MSHVPartition
    private let memory = GuestMemory()

    /// Makes a machine; the device is closed afterwards.
    ///
    /// - Parameters:
    ///   - device: `/dev/mshv`, open for reading and writing.
    ///   - capabilities: what `MSHVProbe` found.
    ///   - numbers: where its two descriptors shall be, for a filter that looks at numbers.
    /// - Throws: `.call` when the hypervisor refuses something.
    package convenience init(
        device: consuming OwnedDescriptor, capabilities: DriverCapabilities,
        numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws(HypervisorError) {
        try self.init(borrowing: device, capabilities: capabilities, numbers: numbers)
        device.close()
    }

    /// Makes a machine and leaves the device open.
    ///
    /// `usesRegisterPage: false` stands for a hypervisor that gives no register page.
    package init(
        borrowing device: borrowing OwnedDescriptor, capabilities: DriverCapabilities,
        usesRegisterPage: Bool = true, numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws(HypervisorError) {
        partition = try MSHVPartition(device, number: numbers?.machine)
        mshvVCPU = try MSHVVCPU(
            try partition.makeVP(number: numbers?.vcpu), partition: partition, memory: memory,
            usesRegisterPage: usesRegisterPage, capabilities: capabilities)
        self.capabilities = capabilities
    }

    /// Gives the guest the memory of `region`.
    ///
    /// The kernel pins the pages here and now, with the intent to write also where the guest may not:
    /// the host mapping must be writable, and one that is copied on write is copied in full. Every
    /// region may be executed, as with other hypervisors.
    package func map(_ region: MemoryRegion) throws(HypervisorError) {
        try memory.add(region)
        try partition.map(region)
    }

    /// One run of a partition that has no memory yet, so that nothing can be executed: whatever the
    /// system does at a first run it does now, when it still may.
    package func prepareForConfinement() {
        // What comes of it means nothing: what is wrong with the partition shows when it has its memory.
        mshvVCPU.runWithoutMemory()
    }
}

/// The descriptor of a partition.
final class MSHVPartition {
    private let descriptor: OwnedDescriptor

    /// A new partition whose guest sees no Hyper-V.
    ///
    /// - Source: Linux `include/uapi/linux/mshv.h`, "MSHV_CREATE_PARTITION"; Hyperlight
    ///   `src/hyperlight_host/src/hypervisor/virtual_machine/mshv` at v0.17.
    init(_ device: borrowing OwnedDescriptor, number: Int32?) throws(HypervisorError) {
        var argument = [UInt8](repeating: 0, count: MSHVLayout.CreatePartition.byteCount)
        let made = OwnedDescriptor(try device.mshv(.createPartition, &argument))
        descriptor = try made.moved(toNumber: number)
        _ = try descriptor.hypercall(.set(.syntheticFeatures, 0))
        try descriptor.mshv(.initializePartition)
    }

    /// Virtual processor 0.
    func makeVP(number: Int32?) throws(HypervisorError) -> OwnedDescriptor {
        var argument = [UInt8](repeating: 0, count: MSHVLayout.CreateVP.byteCount)
        return try OwnedDescriptor(try descriptor.mshv(.createVP, &argument))
            .moved(toNumber: number)
    }

    func map(_ region: MemoryRegion) throws(HypervisorError) {
        do throws(HypervisorError) {
            try setMemory(Self.argument(for: region))
        } catch .call(_, errno: EEXIST) {
            throw .regionOverlaps(region.start)
        }
    }

    /// Gives the partition the memory that `argument` of MSHV_SET_GUEST_MEMORY says.
    func setMemory(_ argument: [UInt8]) throws(HypervisorError) {
        var argument = argument
        try descriptor.mshv(.setGuestMemory, &argument)
    }

    /// `region` as MSHV_SET_GUEST_MEMORY wants it.
    static func argument(for region: MemoryRegion) -> [UInt8] {
        typealias Layout = MSHVLayout.GuestMemory
        var argument = [UInt8](repeating: 0, count: Layout.byteCount)
        argument.put(UInt64(region.byteCount), at: Layout.size)
        argument.put(region.start.rawValue >> 12, at: Layout.firstPage)
        unsafe argument.put(UInt64(UInt(bitPattern: region.host)), at: Layout.host)
        let writable = region.isGuestWritable ? Layout.writable : 0
        argument.put(writable | Layout.executable, at: Layout.flags)
        return argument
    }

    func hypercall(_ call: Hypercall) throws(HypervisorError) -> [UInt8] {
        try descriptor.hypercall(call)
    }
}

extension OwnedDescriptor {
    fileprivate consuming func moved(
        toNumber number: Int32?
    ) throws(HypervisorError) -> OwnedDescriptor {
        guard let number else { return self }
        do throws(SystemCallError) {
            return try moved(to: number)
        } catch {
            throw .call(error.call, errno: error.code)
        }
    }
}
