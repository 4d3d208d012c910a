import Glibc
package import GuestModel

/// Finds out what a hypervisor can do on this machine by running a few instructions.
///
/// One nested in software claims everything and then fails at SSE, `int3` and data watchpoints, so
/// nothing but trying tells.
package enum InstructionProbe {
    package typealias MakeMachine = () throws(HypervisorError) -> any VirtualMachine

    /// What was seen to work, each in a throw-away machine without memory that `makeMachine` gives.
    ///
    /// The driver must not refuse what its capabilities would exclude: that is what is to be found out.
    /// - Throws: when no machine can be made, or `.missing` when one runs not even one instruction.
    package static func run(_ name: String, makeMachine: MakeMachine) throws(HypervisorError)
        -> DriverCapabilities
    {
        guard try attempt(end, makeMachine, { vcpu throws(HypervisorError) in try vcpu.ends() })
        else { throw .missing("a \(name) that executes instructions of 64-bit guests") }
        var found: DriverCapabilities = []
        for (code, capability, test) in tests where worksHere(code, makeMachine, test) {
            found.insert(capability)
        }
        return found
    }

    private typealias Test = @Sendable (any VirtualCPU) throws(HypervisorError) -> Bool

    private static func attempt(
        _ code: [UInt8], _ makeMachine: MakeMachine, _ test: Test
    ) throws(HypervisorError) -> Bool {
        let memory = try ProbeMemory(code: code)
        defer { memory.free() }
        let machine = try makeMachine()
        try machine.map(memory.region)
        try machine.vcpu.write(.longMode(pageTable: ProbeMemory.pageTable))
        try machine.vcpu.write(ProbeMemory.entry)
        return try test(machine.vcpu)
    }

    /// What ends in an error does not work.
    private static func worksHere(
        _ code: [UInt8], _ makeMachine: MakeMachine, _ test: Test
    ) -> Bool {
        do throws(HypervisorError) {
            return try attempt(code, makeMachine, test)
        } catch {
            return false
        }
    }

    /// `out 108, al`, with which every probe program ends: not every hypervisor ends a run at HLT.
    private static let end: [UInt8] = [0xE6, UInt8(endPort)]
    fileprivate static let endPort: UInt16 = 108
    private static let nop: UInt8 = 0x90
    private static let start = ProbeMemory.entry.rip

    private static let tests: [([UInt8], DriverCapabilities, Test)] = [
        (
            [
                0x66, 0x0F, 0xEF, 0xC0,  // pxor xmm0, xmm0
                0x0F, 0x58, 0xC0,  // addps xmm0, xmm0
                0x0F, 0x29, 0x04, 0x24,  // movaps [rsp], xmm0
                0x0F, 0x28, 0x0C, 0x24,  // movaps xmm1, [rsp]
            ] + end, .sse, { vcpu throws(HypervisorError) in try vcpu.ends() }
        ),
        (
            [0xCC] + end, .breakpointInstruction,
            { vcpu throws(HypervisorError) in
                try vcpu.setBreakpoints(Breakpoints(software: [.init(start)]))
                guard try vcpu.run(.continue) == .debug(.softwareBreakpoint(.init(start))) else {
                    return false
                }
                // One that nobody catches is the guest's, and this guest has no handler. A hypervisor
                // that cannot execute `int3` fails here.
                try vcpu.setBreakpoints(Breakpoints())
                return try vcpu.run(.continue) == .shutdown
            }
        ),
        (
            [nop, nop] + end, .singleStep,
            { vcpu throws(HypervisorError) in
                let exit = try vcpu.run(.step)
                let rip = try vcpu.readState().general.rip
                return exit == .debug(.step) && rip == start + 1
            }
        ),
        (
            [nop, nop] + end, .hardwareBreakpoints,
            { vcpu throws(HypervisorError) in
                try vcpu.setBreakpoints(Breakpoints(hardware: [.init(start + 1)]))
                let exit = try vcpu.run(.continue)
                return exit == .debug(.hardwareBreakpoint(.init(start + 1)))
            }
        ),
        (
            [0x48, 0x89, 0x04, 0x24, nop] + end,  // mov [rsp], rax
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
            ] + end, .avx,
            { vcpu throws(HypervisorError) in
                guard try vcpu.ends() else { return false }
                return try vcpu.readExtendedState()?.upperYMM != nil
            }
        ),
    ]
}

extension VirtualCPU {
    fileprivate func ends() throws(HypervisorError) -> Bool {
        guard case .portWrite(InstructionProbe.endPort, _, _) = try run(.continue) else {
            return false
        }
        return true
    }
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
        let place = unsafe mmap(
            nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let host = unsafe place, unsafe host != MAP_FAILED else {
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
