import GuestModel
import Hypervisor
import HypervisorKVM
import LinuxSystem
import Testing

/// What each way out of the guest looks like, with shared registers and without.
@Suite(.enabled("no usable /dev/kvm on this machine") { KVMHost.isUsable })
struct ExitTests {
    private static let start = KVMGuest.code

    @Test(arguments: [true, false])
    func `a step over OUT is the port write and nothing more`(_ shared: Bool) throws {
        let guest = try KVMGuest([0xE6, 0x65, 0x48, 0xFF, 0xC0, 0xF4], usesSharedRegisters: shared)
        #expect(try guest.vcpu.run(.step) == .portWrite(port: 101, size: 1, value: 0))
        #expect(try guest.registers.rip == Self.start + 2)
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.registers.rip == Self.start + 5)
        #expect(try guest.registers.rax == 1)
    }

    @Test(arguments: [true, false])
    func `the step after an unseen OUT is a step of its own`(_ shared: Bool) throws {
        let guest = try KVMGuest([0xE6, 0x65, 0x48, 0xFF, 0xC0, 0xF4], usesSharedRegisters: shared)
        #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.registers.rip == Self.start + 5)
    }

    @Test(arguments: [true, false])
    func `a hardware breakpoint stops before its instruction`(_ shared: Bool) throws {
        let guest = try KVMGuest([0x90, 0x48, 0xFF, 0xC0, 0xF4], usesSharedRegisters: shared)
        let address = GuestVirtualAddress(Self.start + 1)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [.init(0x9000), address]))
        #expect(try guest.vcpu.run(.continue) == .debug(.hardwareBreakpoint(address)))
        #expect(try guest.registers.rax == 0)
        // Going on: without the breakpoint for one step.
        try guest.vcpu.setBreakpoints(Breakpoints())
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.registers.rax == 1)
    }

    @Test(arguments: [true, false])
    func `stepping onto a hardware breakpoint is a step, stepping off it a hit`(
        _ shared: Bool
    ) throws {
        let guest = try KVMGuest([0x90, 0x90, 0xF4], usesSharedRegisters: shared)
        let address = GuestVirtualAddress(Self.start + 1)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.registers.rip == address.rawValue)
        #expect(try guest.vcpu.run(.step) == .debug(.hardwareBreakpoint(address)))
        #expect(try guest.registers.rip == address.rawValue)
    }

    @Test(arguments: [true, false])
    func `accesses to memory that is not there are named`(_ shared: Bool) throws {
        let load = try KVMGuest([0x48, 0x8B, 0x07, 0xF4], usesSharedRegisters: shared)
        try load.change { $0.rdi = 0x2_0000 }
        #expect(try load.vcpu.run(.continue) == .memory(.init(0x2_0000), .read))
        #expect(try load.registers.rip == Self.start)
        let store = try KVMGuest([0x48, 0x89, 0x07, 0xF4], usesSharedRegisters: shared)
        try store.change { $0.rdi = 0x2_0008 }
        #expect(try store.vcpu.run(.continue) == .memory(.init(0x2_0008), .write))
        let jump = try KVMGuest([0xFF, 0xE7], usesSharedRegisters: shared)
        try jump.change { $0.rdi = 0x2_0010 }
        #expect(try jump.vcpu.run(.continue) == .fetchUnmapped(.init(0x2_0010)))
    }

    @Test(arguments: [true, false])
    func `read-only memory can be read and executed, not written`(_ shared: Bool) throws {
        let guest = try KVMGuest(
            [0x48, 0x8B, 0x07, 0xFF, 0xE7, 0xF4], usesSharedRegisters: shared)
        let host = try HostMemory(byteCount: 0x1000)
        unsafe host.base.storeBytes(of: 0xF407_8948, as: UInt32.self)  // mov [rdi], rax; hlt
        try guest.machine.map(
            unsafe MemoryRegion(
                start: .init(0x2_0000), byteCount: 0x1000, isGuestWritable: false, host: host.base))
        try guest.change { $0.rdi = 0x2_0000 }
        #expect(try guest.vcpu.run(.continue) == .memory(.init(0x2_0000), .write))
        #expect(try guest.registers.rax == 0xF407_8948)
    }

    @Test(arguments: [true, false])
    func `an exception without a handler is a shutdown, with registers to read`(
        _ shared: Bool
    ) throws {
        let guest = try KVMGuest([0x90, 0x0F, 0x0B], usesSharedRegisters: shared)  // nop; ud2
        #expect(try guest.vcpu.run(.continue) == .shutdown)
        #expect(try guest.registers.rip == Self.start + 1)
    }

    @Test(arguments: [true, false])
    func `a model-specific register is out of reach`(_ shared: Bool) throws {
        let guest = try KVMGuest([0x0F, 0x32, 0xF4], usesSharedRegisters: shared)  // rdmsr; hlt
        try guest.change { $0.rcx = 0x10 }
        #expect(try guest.vcpu.run(.continue) == .shutdown)
    }

    @Test func `IN is no plain port write`() throws {
        let guest = try KVMGuest([0xEC, 0xF4])
        try guest.change { $0.rdx = 0x3F8 }
        #expect(try guest.vcpu.run(.continue) == .portUnsupported(port: 0x3F8))
    }
}
