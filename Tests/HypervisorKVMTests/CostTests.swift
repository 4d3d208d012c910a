import GuestModel
import Hypervisor
import HypervisorKVM
import Testing

/// Requests are what costs; each of these counts is part of the design.
@Suite(.enabled("no usable /dev/kvm on this machine") { KVMHost.isUsable })
struct CostTests {
    private static let incrementForever: [UInt8] = [0x48, 0xFF, 0xC0, 0xEB, 0xFB]
    private static let outForever: [UInt8] = [0xE6, 0x65, 0xEB, 0xFC]

    @Test func `a step and a look at all registers is one request`() throws {
        let guest = try KVMGuest(Self.incrementForever)
        _ = try guest.vcpu.run(.step)
        let count = try guest.requests {
            for _ in 0..<100 {
                #expect(try guest.vcpu.run(.step) == .debug(.step))
                _ = try guest.vcpu.readState()
            }
        }
        #expect(count == 100)
        #expect(try guest.registers.rax == 51)
    }

    @Test func `changing and unchanged breakpoints cost one request and none`() throws {
        let guest = try KVMGuest(Self.outForever)
        let breakpoints = Breakpoints(software: [.init(0x9000)])
        try guest.vcpu.setBreakpoints(breakpoints)
        let changed = try guest.requests { _ = try guest.vcpu.run(.continue) }
        try guest.vcpu.setBreakpoints(breakpoints)
        let unchanged = try guest.requests { _ = try guest.vcpu.run(.continue) }
        #expect((changed, unchanged) == (2, 1))
    }

    @Test func `new registers travel with the run`() throws {
        let guest = try KVMGuest(Self.outForever)
        _ = try guest.vcpu.run(.continue)
        var registers = try guest.registers
        let count = try guest.requests {
            for value in 1...100 {
                registers.rax = UInt64(value)
                try guest.vcpu.write(registers)
                let expected = VMExit.portWrite(port: 101, size: 1, value: UInt32(value))
                #expect(try guest.vcpu.run(.continue) == expected)
            }
        }
        #expect(count == 100)
    }

    @Test func `a port write that nobody looks behind is one request`() throws {
        let guest = try KVMGuest(Self.outForever)
        let count = try guest.requests {
            for _ in 0..<100 { _ = try guest.vcpu.run(.continue) }
        }
        #expect(count == 100)
    }
}
