// HypervisorKVM: the driver for Linux KVM.
//
// One machine with one vCPU behind the contract of `Hypervisor`. It knows what a nested KVM that
// emulates ring 0 cannot do (`DriverCapabilities`, seen by `KVMProbe`) and asks as little of the
// kernel as it can. It decides nothing about debuggers or guest ABIs, opens no device and starts no
// thread. Start with `KVMVCPU.swift` (registers, running), then `KVMVCPU+Exit.swift` (what came of
// it); the requests it uses are listed in `KVMRequest.swift`.

import CLinux
import Glibc
package import GuestModel
package import Hypervisor
package import LinuxSystem

/// A virtual machine of KVM.
@safe package final class KVMMachine: VirtualMachine {
    package let capabilities: DriverCapabilities
    /// Memory slots follow the mappings of the process.
    package let pinsMemory = false
    /// The vCPU with what only this driver has.
    package let kvmVCPU: KVMVCPU
    package var vcpu: any VirtualCPU { kvmVCPU }

    private let descriptor: OwnedDescriptor
    private var nextSlot: UInt32 = 0

    /// Makes a machine; the device is closed afterwards.
    ///
    /// - Parameters:
    ///   - device: `/dev/kvm`, open for reading and writing.
    ///   - capabilities: what `KVMProbe` found.
    ///   - supportedCPUID: what the guest's CPUID answers before adaptation; read from the device
    ///     when nil.
    ///   - physicalAddressBits: what the guest is told of its physical address space.
    ///   - numbers: where its two descriptors shall be, for a filter that looks at numbers.
    /// - Throws: `.missing` when this KVM is too old, `.call` when it refuses something.
    package convenience init(
        device: consuming OwnedDescriptor, capabilities: DriverCapabilities,
        supportedCPUID: KVMCPUIDTable? = nil, physicalAddressBits: UInt8 = 36,
        numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws(HypervisorError) {
        try self.init(
            borrowing: device, capabilities: capabilities, supportedCPUID: supportedCPUID,
            physicalAddressBits: physicalAddressBits, numbers: numbers)
        device.close()
    }

    /// Makes a machine and leaves the device open.
    ///
    /// `usesSharedRegisters: false` stands for a KVM without KVM_CAP_SYNC_REGS.
    package init(
        borrowing device: borrowing OwnedDescriptor, capabilities: DriverCapabilities,
        supportedCPUID: KVMCPUIDTable? = nil, physicalAddressBits: UInt8 = 36,
        usesSharedRegisters: Bool = true, numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws(HypervisorError) {
        try Self.requireFeatures(device)
        var machine = OwnedDescriptor(try device.kvm(.createVM))
        if let numbers { machine = try Self.moved(machine, to: numbers.machine) }
        try Self.denyModelSpecificRegisters(machine)
        var vcpu = OwnedDescriptor(try machine.kvm(.createVCPU))
        if let numbers { vcpu = try Self.moved(vcpu, to: numbers.vcpu) }
        var cpuid = supportedCPUID
        if cpuid == nil { cpuid = try KVMCPUIDTable(supportedBy: device) }
        try cpuid?.adapted(physicalAddressBits: physicalAddressBits).install(on: vcpu)
        let sharedSets = try device.kvm(.checkExtension, UInt(KVM_CAP_SYNC_REGS))
        let canShare = UInt64(sharedSets) & KVMVCPU.RegisterSet.all.rawValue
        let shares = usesSharedRegisters && canShare == KVMVCPU.RegisterSet.all.rawValue
        let pageByteCount = Int(try device.kvm(.getVCPUMappingSize))
        self.kvmVCPU = try KVMVCPU(
            vcpu, pageByteCount: pageByteCount, access: shares ? .sharedPage : .requests,
            capabilities: capabilities)
        self.descriptor = machine
        self.capabilities = capabilities
    }

    private static func moved(
        _ descriptor: consuming OwnedDescriptor, to number: Int32
    ) throws(HypervisorError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try descriptor.moved(to: number)
        } catch {
            throw .call(error.call, errno: error.code)
        }
    }

    package func map(_ region: MemoryRegion) throws(HypervisorError) {
        var slot = kvm_userspace_memory_region()
        slot.slot = nextSlot
        slot.flags = region.isGuestWritable ? 0 : UInt32(KVM_MEM_READONLY)
        slot.guest_phys_addr = region.start.rawValue
        slot.memory_size = UInt64(region.byteCount)
        slot.userspace_addr = unsafe UInt64(UInt(bitPattern: region.host))
        do throws(HypervisorError) {
            try descriptor.kvm(.setUserMemoryRegion, &slot)
        } catch .call(_, errno: EEXIST) {
            throw .regionOverlaps(region.start)
        }
        nextSlot += 1
    }

    /// The kernel gives each machine a thread of its own at the first KVM_RUN, in this process and
    /// with its credentials; a process that may have no more threads gets EAGAIN for ever.
    package func prepareForConfinement() throws(HypervisorError) {
        try kvmVCPU.enterWithoutRunning()
    }

    /// Refuses a KVM that lacks what this driver is built on.
    private static func requireFeatures(
        _ device: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        let version = try device.kvm(.getAPIVersion)
        guard version == KVM_API_VERSION else {
            throw .missing("version \(KVM_API_VERSION) of the KVM interface, not \(version)")
        }
        let required: [(Int32, String)] = [
            (KVM_CAP_USER_MEMORY, "memory slots"),
            (KVM_CAP_SET_GUEST_DEBUG, "guest debugging"),
            (KVM_CAP_READONLY_MEM, "read-only memory"),
            (KVM_CAP_IMMEDIATE_EXIT, "immediate exit"),
            (KVM_CAP_X86_MSR_FILTER, "MSR filters"),
        ]
        for (number, name) in required
        where try device.kvm(.checkExtension, UInt(number)) <= 0 {
            throw .missing("\(name) in this system's KVM")
        }
    }

    /// A guest that touches a model-specific register gets a general protection fault.
    ///
    /// - Source: Linux `api.rst`, "KVM_X86_SET_MSR_FILTER": denying by default wants one range.
    private static func denyModelSpecificRegisters(
        _ machine: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        var nothingAllowed: UInt8 = 0
        let number = machine.rawValue
        // SAFETY: the kernel copies the bitmap, one bit long, during the call.
        let result = unsafe withUnsafeMutablePointer(to: &nothingAllowed) { bitmap in
            var filter = kvm_msr_filter()
            filter.flags = UInt32(KVM_MSR_FILTER_DEFAULT_DENY)
            unsafe filter.ranges.0 = kvm_msr_filter_range(
                flags: UInt32(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE), nmsrs: 1, base: 0,
                bitmap: bitmap)
            return unsafe clinux_ioctl(number, KVMRequest.setMSRFilter.code, &filter)
        }
        try checkedKVM(result, .setMSRFilter)
    }
}
