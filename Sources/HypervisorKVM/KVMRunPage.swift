import CLinux
import Glibc
import Hypervisor
import LinuxSystem

/// The memory that one vCPU shares with the kernel: `struct kvm_run` and the data behind it.
///
/// Its register area is the driver's only copy of the registers, also where the kernel does not
/// fill it by itself.
/// - Source: Linux `api.rst`, "The kvm_run structure".
@safe struct KVMRunPage: ~Copyable {
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int
    private let run: UnsafeMutablePointer<kvm_run>
    private let generalPlace: UnsafeMutablePointer<kvm_regs>
    private let systemPlace: UnsafeMutablePointer<kvm_sregs>
    private let eventsPlace: UnsafeMutablePointer<kvm_vcpu_events>
    /// What a kick stores 1 to.
    let immediateExit: UnsafeMutablePointer<UInt8>

    /// Maps `byteCount` bytes of the vCPU.
    init(_ vcpu: borrowing OwnedDescriptor, byteCount: Int) throws(HypervisorError) {
        guard byteCount >= MemoryLayout<kvm_run>.size else {
            throw .missing("a vCPU mapping that holds struct kvm_run")
        }
        guard let base = unsafe clinux_map_shared(vcpu.rawValue, byteCount) else {
            throw .call("mmap of the vCPU", errno: errno)
        }
        // SAFETY: the kernel made the mapping for these structures at these offsets, and it is at
        // least as long as the structure.
        unsafe self.base = base
        self.byteCount = byteCount
        unsafe run = base.assumingMemoryBound(to: kvm_run.self)
        unsafe generalPlace = (base + clinux_kvm_shared_regs_offset())
            .assumingMemoryBound(to: kvm_regs.self)
        unsafe systemPlace = (base + clinux_kvm_shared_sregs_offset())
            .assumingMemoryBound(to: kvm_sregs.self)
        unsafe eventsPlace = (base + clinux_kvm_shared_events_offset())
            .assumingMemoryBound(to: kvm_vcpu_events.self)
        unsafe immediateExit = (base + clinux_kvm_immediate_exit_offset())
            .assumingMemoryBound(to: UInt8.self)
    }

    deinit {
        // SAFETY: the mapping of `init`; the vCPU that owns this page hands out no view of it but
        // the kick, which is valid for the life of the machine.
        unsafe clinux_forget_kick(immediateExit)
        unsafe _ = munmap(base, byteCount)
    }

    // SAFETY of all below: the places lie inside the mapping, and one thread uses them, outside
    // KVM_RUN.

    var general: kvm_regs {
        get { unsafe generalPlace.pointee }
        nonmutating set { unsafe generalPlace.pointee = newValue }
    }

    var system: kvm_sregs {
        get { unsafe systemPlace.pointee }
        nonmutating set { unsafe systemPlace.pointee = newValue }
    }

    /// No exception, interrupt or NMI is pending or in delivery.
    func clearEvents() { unsafe eventsPlace.pointee = kvm_vcpu_events() }

    var rip: UInt64 { unsafe generalPlace.pointee.rip }

    /// Where requests that read or write one set of registers find them.
    var generalArgument: UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(generalPlace)
    }

    var systemArgument: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(systemPlace) }

    /// Which registers the kernel stores here after each exit.
    var validRegisters: UInt64 {
        get { unsafe run.pointee.kvm_valid_regs }
        nonmutating set { unsafe run.pointee.kvm_valid_regs = newValue }
    }

    /// Which registers the kernel takes from here at the next entry.
    var dirtyRegisters: UInt64 {
        get { unsafe run.pointee.kvm_dirty_regs }
        nonmutating set { unsafe run.pointee.kvm_dirty_regs = newValue }
    }

    /// CR8 lives here as well, and this copy wins at each entry.
    var cr8: UInt64 {
        get { unsafe run.pointee.cr8 }
        nonmutating set { unsafe run.pointee.cr8 = newValue }
    }

    var exitReason: UInt32 { unsafe run.pointee.exit_reason }
    var hardwareFailure: UInt64 { unsafe run.pointee.fail_entry.hardware_entry_failure_reason }
    var debugExit: kvm_debug_exit_arch { unsafe run.pointee.debug.arch }
    var internalSuberror: UInt32 { unsafe run.pointee.internal.suberror }
    var memoryExit: (address: UInt64, isWrite: Bool) {
        unsafe (run.pointee.mmio.phys_addr, run.pointee.mmio.is_write != 0)
    }

    /// The port access behind an IO exit; `value` is nil for what is not one plain OUT.
    var portExit: (port: UInt16, size: UInt8, value: UInt32?) {
        let io = unsafe run.pointee.io
        let (port, size) = (io.port, io.size)
        guard io.direction == UInt8(KVM_EXIT_IO_OUT), io.count == 1 else {
            return (port, size, nil)
        }
        guard let offset = Int(exactly: io.data_offset), offset >= 0, offset <= byteCount - 4 else {
            return (port, size, nil)
        }
        let data = unsafe base + offset
        let value: UInt32? =
            switch size {
            case 1: unsafe UInt32(data.load(as: UInt8.self))
            case 2: unsafe UInt32(data.loadUnaligned(as: UInt16.self))
            case 4: unsafe data.loadUnaligned(as: UInt32.self)
            default: nil
            }
        return (port, size, value)
    }

    /// The instruction that could not be emulated: nil when KVM is too old to say, empty when it
    /// could not be fetched.
    var failedInstruction: [UInt8]? {
        let failure = unsafe run.pointee.emulation_failure
        guard failure.ndata >= 1 else { return nil }
        let hasBytes = failure.flags & UInt64(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
        guard hasBytes != 0 else { return [] }
        let bytes = unsafe withUnsafeBytes(of: failure.insn_bytes) { unsafe Array($0) }
        return Array(bytes.prefix(Int(failure.insn_size)))
    }
}
