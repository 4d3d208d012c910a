import GuestModel
import Hypervisor
import HypervisorEmulator
import Testing

@testable import DriverConformance

struct WatchTests {
    @Test func `watching costs nothing when nothing is watched any more`() throws {
        let machine = try EmulatorMachine()
        let memory = try TestMemory()
        try withExtendedLifetime(memory) {
            let guest = try TestGuest(machine: machine, memory: memory)
            try guest.load(loop) { ($0.rdi, $0.rcx) = (TestMemory.data, 100) }
            try guest.expect(.halted)
            #expect(machine.watchCalls == 0)
            try guest.watch(.access, TestMemory.data + 8, 4)
            try guest.change { ($0.rip, $0.rcx) = (TestMemory.code, 100) }
            try guest.expect(.halted)
            let calls = machine.watchCalls
            // Five instructions and two accesses a round.
            #expect(calls >= 700)
            try guest.vcpu.setBreakpoints(Breakpoints())
            try guest.change { ($0.rip, $0.rcx) = (TestMemory.code, 100) }
            try guest.expect(.halted)
            try guest.change { ($0.rip, $0.rcx) = (TestMemory.code, 100) }
            try guest.expect(.debug(.step), mode: .step)
            #expect(machine.watchCalls == calls)
        }
    }

    /// `mov [rdi], eax; mov eax, [rdi]; nop; dec ecx; jnz` to the start, and `hlt`.
    private let loop: [UInt8] = [0x89, 0x07, 0x8B, 0x07, 0x90, 0xFF, 0xC9, 0x75, 0xF7, 0xF4]
}
