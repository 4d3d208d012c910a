import GuestModel
import Hypervisor
import HypervisorMSHV
import LinuxSystem
import Testing

/// What only this driver promises, with a register page and without.
@Suite(.enabled(if: MSHVHost.isUsable, Comment(rawValue: MSHVHost.reason)))
struct DriverTests {
    private static let start = MSHVGuest.code

    @Test(arguments: [true, false])
    func `a reset forgets the access that ended the last run`(_ page: Bool) throws {
        let guest = try MSHVGuest([0xE6, 0x65, 0x48, 0xFF, 0xC0, 0xF4], usesRegisterPage: page)
        for _ in 0..<3 {
            #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
            try guest.vcpu.reset()
            try guest.start()
            #expect(try guest.registers.rip == Self.start)
        }
        #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.registers.rax == 1)
    }

    @Test(arguments: [true, false])
    func `a guest that ended in a triple fault runs again after a reset`(_ page: Bool) throws {
        let guest = try MSHVGuest([0x0F, 0x0B], usesRegisterPage: page)  // ud2
        #expect(try guest.vcpu.run(.continue) == .shutdown)
        _ = guest.memory.write([0x90, 0xF4], at: .init(Self.start))
        try guest.vcpu.reset()
        try guest.start()
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.registers.rip == Self.start + 2)
    }

    @Test(arguments: [true, false])
    func `the guest's debug registers come back when ours are gone`(_ page: Bool) throws {
        let guest = try MSHVGuest(
            [
                0x0F, 0x23, 0xD8,  // mov dr3, rax
                0xE6, 0x65,  // out 101, al
                0x90,  // nop
                0x0F, 0x21, 0xDB,  // mov rbx, dr3
                0xF4,  // hlt
            ], usesRegisterPage: page)
        try guest.start { $0.rax = 0x1234 }
        #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0x34))
        let address = GuestVirtualAddress(Self.start + 5)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        #expect(try guest.vcpu.run(.continue) == .debug(.hardwareBreakpoint(address)))
        try guest.vcpu.setBreakpoints(Breakpoints())
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.registers.rbx == 0x1234)
    }

    @Test(arguments: [true, false])
    func `a reset takes the guest's debug registers back, seen or not`(_ page: Bool) throws {
        let guest = try MSHVGuest(
            [
                0x0F, 0x21, 0xC3,  // mov rbx, dr0
                0x0F, 0x23, 0xC0,  // mov dr0, rax
                0xF4,  // hlt
            ], usesRegisterPage: page)
        for _ in 0..<2 {
            try guest.start { $0.rax = 0x1234 }
            #expect(try guest.vcpu.run(.continue) == .halted)
            #expect(try guest.registers.rbx == 0)
            try guest.vcpu.reset()
        }
    }

    @Test(arguments: [true, false])
    func `steps without breakpoints leave the debug registers to the guest`(_ page: Bool) throws {
        let guest = try MSHVGuest(
            [
                0x0F, 0x23, 0xD8,  // mov dr3, rax
                0x0F, 0x21, 0xDB,  // mov rbx, dr3
                0xF4,  // hlt
            ], usesRegisterPage: page)
        try guest.start { $0.rax = 0x1234 }
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.vcpu.run(.continue) == .halted)
        #expect(try guest.registers.rbx == 0x1234)
    }

    @Test(arguments: [true, false])
    func `a guest that disarms our breakpoints meets them after its next exit`(_ page: Bool) throws
    {
        let guest = try MSHVGuest(
            [
                0x0F, 0x23, 0xF8,  // mov dr7, rax
                0xE6, 0x65,  // out 101, al
                0x90,  // nop
                0xF4,  // hlt
            ], usesRegisterPage: page)
        try guest.start { $0.rax = 0x400 }
        let address = GuestVirtualAddress(Self.start + 5)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        #expect(try guest.vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
        #expect(try guest.vcpu.run(.continue) == .debug(.hardwareBreakpoint(address)))
    }

    @Test(arguments: [true, false])
    func `a trap flag that was not there is never seen, one that was stays`(_ page: Bool) throws {
        let guest = try MSHVGuest([0x90, 0x90, 0xE6, 0x65, 0xF4], usesRegisterPage: page)
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        #expect(try guest.registers.rflags & 0x1_0100 == 0)
        var registers = try guest.registers
        registers.rflags |= 0x100
        try guest.vcpu.write(registers)
        #expect(try guest.registers.rflags & 0x100 != 0)
    }

    @Test(arguments: [true, false])
    func `a step over OUT leaves no trap flag behind`(_ page: Bool) throws {
        let guest = try MSHVGuest([0xE6, 0x65, 0x90, 0xF4], usesRegisterPage: page)
        #expect(try guest.vcpu.run(.step) == .portWrite(port: 101, size: 1, value: 0))
        #expect(try guest.registers.rflags & 0x100 == 0)
        #expect(try guest.registers.rip == Self.start + 2)
        #expect(try guest.vcpu.run(.continue) == .halted)
    }

    @Test(arguments: [true, false])
    func `what was written is read after a run that a kick kept from beginning`(_ page: Bool) throws
    {
        let machine = try MSHVHost.makeMachine(usesRegisterPage: page)
        machine.prepareForConfinement()
        let host = try HostMemory(byteCount: 0x1000)
        try machine.map(
            unsafe MemoryRegion(
                start: .init(0), byteCount: 0x1000, isGuestWritable: true, host: host.base))
        var system = SystemRegisters.longMode(pageTable: .init(0x1000))
        system.fs.base = 0x1234_5678
        var general = RegisterFile()
        general.rip = Self.start
        try machine.vcpu.write(system)
        try machine.vcpu.write(general)
        guard case .function(let kick, let argument) = machine.vcpu.kick else {
            Issue.record("the kick is no function")
            return
        }
        unsafe kick(argument)
        #expect(try machine.vcpu.run(.continue) == .interrupted)
        let state = try machine.vcpu.readState()
        #expect(state.system.cr3 == 0x1000)
        #expect(state.system.fs.base == 0x1234_5678)
        #expect(state.general.rip == Self.start)
    }

    @Test func `memory twice at one place is refused by name`() throws {
        let guest = try MSHVGuest([0xF4])
        let host = try HostMemory(byteCount: 0x1000)
        #expect(throws: HypervisorError.regionOverlaps(.init(0x5000))) {
            try guest.machine.map(
                unsafe MemoryRegion(
                    start: .init(0x5000), byteCount: 0x1000, isGuestWritable: true, host: host.base)
            )
        }
    }

    @Test func `the first run before confinement executes nothing`() throws {
        let machine = try MSHVHost.makeMachine()
        machine.prepareForConfinement()
        let host = try HostMemory(byteCount: 0x1000)
        try machine.map(
            unsafe MemoryRegion(
                start: .init(0), byteCount: 0x1000, isGuestWritable: true, host: host.base))
        let state = try machine.vcpu.readState()
        #expect(state.general.rip == 0xFFF0)
    }
}
