import CLinux
import Glibc
package import GuestModel
package import Hypervisor
package import LinuxSystem

/// Finds out what this machine's KVM can do by running a few instructions.
///
/// A KVM nested in software claims everything and then fails at SSE, `int3` and data watchpoints, so
/// nothing but trying tells.
package enum KVMProbe {
    /// What was seen to work; about 10 ms where KVM is slow.
    /// - Throws: when KVM cannot make a machine or run even one instruction.
    package static func run(
        device: borrowing OwnedDescriptor
    ) throws(HypervisorError) -> DriverCapabilities {
        let cpuid = try KVMCPUIDTable(supportedBy: device)
        func attempt(
            _ code: [UInt8], _ body: (KVMVCPU) throws(HypervisorError) -> Bool
        ) throws(HypervisorError) -> Bool {
            let memory = try ProbeMemory(code: code)
            defer { memory.free() }
            let machine = try KVMMachine(
                borrowing: device, capabilities: [.complete, .watchpoints, .avx],
                supportedCPUID: cpuid)
            try machine.map(memory.region)
            try machine.vcpu.write(.longMode(pageTable: ProbeMemory.pageTable))
            try machine.vcpu.write(ProbeMemory.entry)
            return try body(machine.kvmVCPU)
        }
        guard try attempt([halt], { vcpu throws(HypervisorError) in try vcpu.halts() }) else {
            throw .missing("a KVM that executes instructions of 64-bit guests")
        }
        var found: DriverCapabilities = []
        for (code, capability, test) in tests where try attempt(code, test) {
            found.insert(capability)
        }
        return found
    }

    private typealias Test = @Sendable (KVMVCPU) throws(HypervisorError) -> Bool

    private static let halt: UInt8 = 0xF4
    private static let nop: UInt8 = 0x90
    private static let start = ProbeMemory.entry.rip

    private static let tests: [([UInt8], DriverCapabilities, Test)] = [
        (
            [
                0x66, 0x0F, 0xEF, 0xC0,  // pxor xmm0, xmm0
                0x0F, 0x58, 0xC0,  // addps xmm0, xmm0
                0x0F, 0x29, 0x04, 0x24,  // movaps [rsp], xmm0
                0x0F, 0x28, 0x0C, 0x24,  // movaps xmm1, [rsp]
                halt,
            ], .sse, { vcpu throws(HypervisorError) in try vcpu.halts() }
        ),
        (
            [0xCC, halt], .breakpointInstruction,
            { vcpu throws(HypervisorError) in
                try vcpu.setBreakpoints(Breakpoints(software: [.init(start)]))
                let exit = try vcpu.run(.continue)
                return exit == .debug(.softwareBreakpoint(.init(start))) && vcpu.isAtDebugExit
            }
        ),
        (
            [nop, nop, halt], .singleStep,
            { vcpu throws(HypervisorError) in
                let exit = try vcpu.run(.step)
                let rip = try vcpu.readState().general.rip
                return exit == .debug(.step) && rip == start + 1
            }
        ),
        (
            [nop, nop, halt], .hardwareBreakpoints,
            { vcpu throws(HypervisorError) in
                try vcpu.setBreakpoints(Breakpoints(hardware: [.init(start + 1)]))
                let exit = try vcpu.run(.continue)
                return exit == .debug(.hardwareBreakpoint(.init(start + 1)))
            }
        ),
        (
            [0x48, 0x89, 0x04, 0x24, nop, halt],  // mov [rsp], rax
            .watchpoints,
            { vcpu throws(HypervisorError) in
                let stack = GuestVirtualAddress(ProbeMemory.entry.rsp)
                guard let range = GuestVirtualRange(start: stack, byteCount: 8),
                    let watchpoint = Watchpoint(.write, range)
                else { return false }
                try vcpu.setBreakpoints(Breakpoints(watchpoints: [watchpoint]))
                let exit = try vcpu.run(.continue)
                let rip = try vcpu.readState().general.rip
                return exit == .debug(.watchpoint(.write, stack)) && rip == start + 4
            }
        ),
        (
            [
                0x0F, 0x20, 0xE0,  // mov rax, cr4
                0x0F, 0xBA, 0xE8, 0x12,  // bts eax, 18, which is OSXSAVE
                0x0F, 0x22, 0xE0,  // mov cr4, rax
                0x31, 0xC9,  // xor ecx, ecx
                0x31, 0xD2,  // xor edx, edx
                0xB8, 0x07, 0x00, 0x00, 0x00,  // mov eax, 7, which is x87, SSE and AVX
                0x0F, 0x01, 0xD1,  // xsetbv
                0xC5, 0xFC, 0x58, 0xC0,  // vaddps ymm0, ymm0, ymm0
                halt,
            ], .avx,
            { vcpu throws(HypervisorError) in
                guard try vcpu.halts() else { return false }
                return try vcpu.readExtendedState()?.upperYMM != nil
            }
        ),
    ]
}

extension KVMVCPU {
    fileprivate func halts() throws(HypervisorError) -> Bool { try run(.continue) == .halted }

    fileprivate var isAtDebugExit: Bool { page.exitReason == UInt32(KVM_EXIT_DEBUG) }
}

/// Six pages for one probe guest: its page tables, its code and its stack.
@safe private struct ProbeMemory {
    private static let byteCount = 6 * guestPageBytes
    static let pageTable = GuestPhysicalAddress(0x1000)

    /// Where the guest starts; the stack is 16-byte aligned, with room above.
    static let entry = {
        var registers = RegisterFile()
        registers.rip = 0x4000
        registers.rsp = 0x5800
        return registers
    }()

    let region: MemoryRegion

    /// The first 2 MiB of virtual addresses are the same physical ones.
    init(code: [UInt8]) throws(HypervisorError) {
        guard let host = unsafe clinux_map_anonymous(Self.byteCount) else {
            throw .call("mmap", errno: errno)
        }
        // SAFETY: all addresses lie inside the six pages just mapped.
        let words: [(Int, UInt64)] = [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83)]
        for (address, entry) in words {
            unsafe host.storeBytes(of: entry, toByteOffset: address, as: UInt64.self)
        }
        for (index, byte) in code.enumerated() {
            unsafe host.storeBytes(
                of: byte, toByteOffset: Int(Self.entry.rip) + index, as: UInt8.self)
        }
        unsafe region = MemoryRegion(
            start: .init(0), byteCount: Self.byteCount, isGuestWritable: true, host: host)
    }

    /// Gives the memory back when no machine uses it any more.
    func free() {
        // SAFETY: the mapping of `init`.
        unsafe _ = munmap(region.host, Self.byteCount)
    }
}
