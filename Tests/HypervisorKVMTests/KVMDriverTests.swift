import Glibc
import GuestModel
import Hypervisor
import HypervisorKVM
import LinuxSystem
import Testing

@Suite(.enabled("no usable /dev/kvm on this machine") { KVMHost.isUsable })
struct KVMDriverTests {
    @Test func `every KVM steps and has hardware breakpoints`() {
        #expect(KVMHost.capabilities.isSuperset(of: [.singleStep, .hardwareBreakpoints]))
    }

    @Test(arguments: [true, false])
    func `int3 stops at its own address`(_ usesSharedRegisters: Bool) throws {
        let program: [UInt8] = [0x90, 0xCC, 0xF4]
        let guest = try KVMGuest(program, usesSharedRegisters: usesSharedRegisters)
        try guest.vcpu.setBreakpoints(Breakpoints(software: [.init(KVMGuest.code + 1)]))
        let expected = VMExit.debug(.softwareBreakpoint(.init(KVMGuest.code + 1)))
        #expect(try guest.vcpu.run(.continue) == expected)
        #expect(try guest.registers.rip == KVMGuest.code + 1)
        // The byte is taken out, as a debugger does, and the guest goes on.
        #expect(guest.memory.write([0x90], at: .init(KVMGuest.code + 1)))
        #expect(try guest.vcpu.run(.continue) == .halted)
    }

    @Test(
        .enabled("this machine's KVM runs SSE") {
            KVMHost.capabilities.isLimited
        })
    func `a limited KVM names the instruction that it cannot run`() throws {
        let guest = try KVMGuest([0x66, 0x0F, 0xEF, 0xC0, 0xF4])
        guard case .unsupportedInstruction(let bytes) = try guest.vcpu.run(.continue) else {
            Issue.record("no unsupported instruction")
            return
        }
        #expect(bytes.starts(with: [0x66, 0x0F, 0xEF, 0xC0]))
        #expect(try guest.registers.rip == KVMGuest.code)
        let before = guest.vcpu.ioctlCount
        #expect(try guest.vcpu.readExtendedState() == nil)
        #expect(guest.vcpu.ioctlCount == before)
    }

    @Test func `segments and control registers survive the way to KVM and back`() throws {
        let guest = try KVMGuest([0xF4])
        var system = SystemRegisters.longMode(pageTable: .init(0x1000))
        system.ds = Segment(base: 0, limit: 0xFFFF_FFFF, selector: 0x10, attributes: 0xC093)
        system.gs.base = 0xFFFF_8000_0000_1000
        system.cr2 = 0x1234_5000
        system.cr8 = 5
        try guest.vcpu.write(system)
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.vcpu.readState().system == system)
    }

    @Test func `a machine that is gone leaves no descriptor behind`() async throws {
        // In a process of its own: other tests open descriptors at the same time.
        await #expect(processExitsWith: .success) {
            for _ in 0..<3 {
                let machine = try KVMMachine(
                    device: try openDevice("/dev/kvm"), capabilities: .complete)
                // The machine and its vCPU; the device is closed already.
                let held = withExtendedLifetime(machine) { openKVMDescriptors() }
                guard held == 2 else { exit(1) }
            }
            _ = try KVMProbe.run(device: try openDevice("/dev/kvm"))
            exit(openKVMDescriptors() == 0 ? 0 : 2)
        }
    }

    @Test func `a fifth hardware breakpoint is refused`() throws {
        let guest = try KVMGuest([0xF4])
        let five = Breakpoints(hardware: (0..<5).map { .init(0x4000 + $0) })
        #expect(throws: HypervisorError.tooManyBreakpoints(limit: 4)) {
            try guest.vcpu.setBreakpoints(five)
        }
    }

    @Test
    func `watches are refused where they would never fire, and take their registers elsewhere`()
        throws
    {
        let code = GuestVirtualAddress(KVMGuest.code)
        let range = try #require(GuestVirtualRange(start: code, byteCount: 8))
        let watch = try #require(Watchpoint(.write, range))
        let poor = try KVMGuest([0xF4], capabilities: .complete)
        #expect(throws: HypervisorError.missing("data watchpoints of KVM on this machine")) {
            try poor.vcpu.setBreakpoints(Breakpoints(watchpoints: [watch]))
        }
        let rich = try KVMGuest([0xF4], capabilities: [.complete, .watchpoints])
        let three = (0..<3).map { GuestVirtualAddress(KVMGuest.code + 8 + $0) }
        try rich.vcpu.setBreakpoints(Breakpoints(hardware: three, watchpoints: [watch]))
        // KVM takes what it is told, whether it can do it or not.
        #expect(try rich.vcpu.run(.continue) == .halted)
        #expect(throws: HypervisorError.tooManyBreakpoints(limit: 4)) {
            try rich.vcpu.setBreakpoints(
                Breakpoints(hardware: three + [code], watchpoints: [watch]))
        }
    }

    @Test func `a region that overlaps another is refused by name`() throws {
        let guest = try KVMGuest([0xF4])
        let host = try HostMemory(byteCount: 0x2000)
        let region = unsafe MemoryRegion(
            start: .init(0xF000), byteCount: 0x2000, isGuestWritable: true, host: host.base)
        #expect(throws: HypervisorError.regionOverlaps(.init(0xF000))) {
            try guest.machine.map(region)
        }
    }

    @Test func `finishing a port write keeps a kick that came before`() throws {
        let guest = try KVMGuest([0xE6, 0x65, 0xEB, 0xFC])
        guard case .flag(let flag) = guest.vcpu.kick else {
            Issue.record("KVM is kicked by a flag")
            return
        }
        #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
        unsafe flag.pointee = 1
        #expect(try guest.registers.rip == KVMGuest.code + 2)
        #expect(try guest.vcpu.run(.continue) == .interrupted)
        guest.vcpu.clearKick()
        #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
        #expect(try guest.registers.rip == KVMGuest.code + 2)
        #expect(unsafe flag.pointee == 0)
    }

    @Test func `a step after new registers steps from the new place`() throws {
        let guest = try KVMGuest([0x90, 0x90, 0x48, 0xFF, 0xC0, 0x90, 0xF4])
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        var registers = try guest.registers
        registers.rip = KVMGuest.code + 2
        try guest.vcpu.write(registers)
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.registers.rip == KVMGuest.code + 5)
        #expect(try guest.registers.rax == 1)
        #expect(try guest.registers.rflags & 0x1_0100 == 0)
    }

    // The kernel's side of these needs no SSE, so a limited KVM can show it too.

    @Test(arguments: [true, false])
    func `the kernel GS base goes to KVM and back`(_ shared: Bool) throws {
        let guest = try KVMGuest([0xF4], usesSharedRegisters: shared, capabilities: .complete)
        var state = try #require(try guest.vcpu.readExtendedState())
        #expect(state.kernelGSBase == 0)
        state.kernelGSBase = 0xFFFF_8000_1234_5678
        try guest.vcpu.write(state)
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.vcpu.readExtendedState()?.kernelGSBase == 0xFFFF_8000_1234_5678)
        state.kernelGSBase = nil
        try guest.vcpu.write(state)
        #expect(try guest.vcpu.readExtendedState()?.kernelGSBase == 0xFFFF_8000_1234_5678)
    }

    @Test func `MXCSR bits that the CPU lacks are dropped`() throws {
        let guest = try KVMGuest([0xF4], capabilities: .complete)
        var bytes = [UInt8](repeating: 0, count: ExtendedState.byteCount)
        for index in 24..<28 { bytes[index] = 0xFF }
        try guest.vcpu.write(try #require(ExtendedState(fxsave: bytes)))
        let state = try #require(try guest.vcpu.readExtendedState())
        #expect(state.mxcsr == state.mxcsrMask)
    }

    @Test(arguments: [true, false])
    func `upper halves of YMM registers are there while the guest has AVX on`(
        _ shared: Bool
    ) throws {
        let guest = try KVMGuest(
            [0x0F, 0x01, 0xD1, 0xF4, 0x0F, 0x01, 0xD1, 0xF4],  // xsetbv; hlt, twice
            usesSharedRegisters: shared, capabilities: [.complete, .avx])
        var system = try guest.vcpu.readState().system
        system.cr4 |= 1 << 18  // OSXSAVE
        try guest.vcpu.write(system)
        #expect(try guest.vcpu.readExtendedState()?.upperYMM == nil)
        try guest.change { $0.rax = 7 }
        guard try guest.vcpu.run(.continue) == .halted else {
            Issue.record("this CPU has no AVX to turn on")
            return
        }
        let zeros = [UInt8](repeating: 0, count: ExtendedState.upperYMMByteCount)
        let before = try #require(try guest.vcpu.readExtendedState())
        #expect(before.upperYMM == zeros)
        let upper = (0..<256).map { UInt8(truncatingIfNeeded: $0 &* 3) }
        try guest.vcpu.write(
            try #require(ExtendedState(fxsave: before.bytes, upperYMM: upper)))
        #expect(try guest.vcpu.readExtendedState()?.upperYMM == upper)
        // Off again: they are nobody's business, and cannot be written.
        try guest.change { $0.rax = 1 }
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.vcpu.readExtendedState()?.upperYMM == nil)
        #expect(throws: HypervisorError.missing("AVX in this guest")) {
            try guest.vcpu.write(
                try #require(ExtendedState(fxsave: before.bytes, upperYMM: upper)))
        }
    }

    @Test func `extended state can be written`() throws {
        let guest = try KVMGuest([0xF4])
        var bytes = [UInt8](repeating: 0, count: ExtendedState.byteCount)
        (bytes[0], bytes[1], bytes[24], bytes[25]) = (0x7F, 0x03, 0x80, 0x1F)
        bytes[160] = 0x5A
        let state = try #require(ExtendedState(fxsave: bytes))
        try guest.vcpu.write(state)
        if let seen = try guest.vcpu.readExtendedState() { #expect(seen.bytes[160] == 0x5A) }
    }
}

/// Descriptors of this process, below 256, that belong to KVM: device, machines, vCPUs.
private func openKVMDescriptors() -> Int {
    (0..<256).count { number in
        var target = [CChar](repeating: 0, count: 64)
        // One byte stays free for the zero at the end.
        guard unsafe readlink("/proc/self/fd/\(number)", &target, 63) > 0 else { return false }
        return unsafe strstr(target, "kvm") != nil
    }
}
