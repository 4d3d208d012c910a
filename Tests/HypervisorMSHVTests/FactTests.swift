import CLinux
import ConformanceSupport
import GuestModel
import Hypervisor
import LinuxSystem
import Testing

@testable import HypervisorMSHV

/// What no description says for certain: each test prints what it saw, for `tools/first-run-on-mshv`.
///
/// Through the stand-in the lines are about the stand-in.
@Suite(.enabled(if: MSHVHost.isUsable, Comment(rawValue: MSHVHost.reason)))
struct FactTests {
    private static let start = MSHVGuest.code

    private func say(_ question: String, _ answer: String) { print("fact: \(question): \(answer)") }

    @Test func `where RIP is after HLT`() throws {
        let guest = try MSHVGuest([0x90, 0xF4, 0x90])  // nop; hlt; nop
        let vcpu = guest.machine.mshvVCPU
        let (exit, _) = try run(vcpu, kickingAfterMicroseconds: 1_000_000)
        guard exit != .interrupted else { return say("RIP after HLT", "HLT does not end a run") }
        let isBehind = vcpu.isRIPBehindHalts
        say(
            "RIP after HLT",
            "\(exit), " + (isBehind.map { $0 ? "behind it" : "at it" } ?? "unclear"))
        #expect(exit == .halted)
    }

    @Test func `where debug conditions show`() throws {
        let guest = try MSHVGuest([0x90, 0x90, 0xF4])
        #expect(try guest.vcpu.run(.step) == .debug(.step))
        say("after a step", Self.text(guest.machine.mshvVCPU.lastDebugConditions))
        let address = GuestVirtualAddress(Self.start + 1)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        #expect(try guest.vcpu.run(.continue) == .debug(.hardwareBreakpoint(address)))
        say("after a breakpoint", Self.text(guest.machine.mshvVCPU.lastDebugConditions))
    }

    private static func text(_ conditions: (register: UInt64, message: UInt64)?) -> String {
        guard let conditions else { return "nothing was seen" }
        let numbers = [conditions.register, conditions.message].map { String($0, radix: 16) }
        return "DR6 0x\(numbers[0]), message 0x\(numbers[1])"
    }

    @Test func `when the register page is valid`() throws {
        let guest = try MSHVGuest([0xE6, 0x65, 0xEB, 0xFE])  // out 101, al; jmp to itself
        let vcpu = guest.machine.mshvVCPU
        func valid() -> String { vcpu.isPageValid.map { $0 ? "yes" : "no" } ?? "there is none" }
        say("page valid before the first run", valid())
        #expect(try vcpu.run(.continue) == .portWrite(port: 101, size: 1, value: 0))
        say("page valid after an exit", valid())
        _ = try vcpu.readState()
        say("page valid after registers were read by hypercall", valid())
        try vcpu.write([(.cr2, RegisterValue(0x1000))])
        say("page valid after a register was written by hypercall", valid())
        #expect(try run(vcpu, kickingAfterMicroseconds: 2000).exit == .interrupted)
        say("page valid after a kick", valid())
    }

    @Test func `how long a kick takes`() throws {
        let guest = try MSHVGuest([0xEB, 0xFE])  // jmp to itself
        let times = try (0..<50).map { _ in
            let (exit, time) = try run(guest.machine.mshvVCPU, kickingAfterMicroseconds: 1000)
            #expect(exit == .interrupted)
            return time
        }.sorted()
        say("kick to return, us", "median \(times[25]), most \(times[49])")
        #expect(times[25] < 5000)
    }

    /// What ended a run that is kicked after `delay`, and how long after the kick it returned.
    private func run(
        _ vcpu: MSHVVCPU, kickingAfterMicroseconds delay: UInt32
    ) throws -> (exit: VMExit, microseconds: UInt64) {
        guard case .function(let function, let argument) = vcpu.kick else {
            preconditionFailure("this driver's kick is a function")
        }
        var kick = unsafe conformance_kick(function: function, argument: argument, flag: nil)
        defer { vcpu.clearKick() }
        // SAFETY: the timer that refers to `kick` is gone when this scope ends.
        return try unsafe withUnsafeMutablePointer(to: &kick) { pointer throws in
            let start = monotonicNanoseconds()
            let timer = unsafe conformance_arm_kick(pointer, delay)
            defer { conformance_disarm(timer) }
            let exit = try vcpu.run(.continue)
            let passed = (monotonicNanoseconds() - start) / 1000
            return (exit, passed > UInt64(delay) ? passed - UInt64(delay) : 0)
        }
    }

    @Test func `how long an OUT takes`() throws {
        let guest = try MSHVGuest([0xE6, 0x65, 0xEB, 0xFC])  // out 101, al; jmp to it
        var best = UInt64.max
        for _ in 0..<10 {
            let start = monotonicNanoseconds()
            for _ in 0..<500 { _ = try guest.vcpu.run(.continue) }
            best = min(best, (monotonicNanoseconds() - start) / 500)
        }
        say("OUT round trip, ns", "\(best)")
    }

    @Test func `how long a step takes`() throws {
        let guest = try MSHVGuest([0xEB, 0xFE])  // jmp to itself
        let start = monotonicNanoseconds()
        for _ in 0..<500 { #expect(try guest.vcpu.run(.step) == .debug(.step)) }
        say("step, ns", "\((monotonicNanoseconds() - start) / 500)")
    }

    @Test func `whether memory without the permission can be executed`() throws {
        let guest = try MSHVGuest([0xFF, 0xE7])  // jmp rdi
        let host = try HostMemory(byteCount: 0x1000)
        // out 101, al
        unsafe host.base.storeBytes(of: 0x65E6, toByteOffset: 0x10, as: UInt16.self)
        let region = unsafe MemoryRegion(
            start: .init(0x2_0000), byteCount: 0x1000, isGuestWritable: true, host: host.base)
        var argument = MSHVPartition.argument(for: region)
        argument[MSHVLayout.GuestMemory.flags] &= ~MSHVLayout.GuestMemory.executable
        try guest.machine.partition.setMemory(argument)
        try guest.start { $0.rdi = 0x2_0010 }
        say("a jump to memory without execute permission", "\(try guest.vcpu.run(.continue))")
    }

    @Test func `where RIP is after a store to memory that is not there`() throws {
        let guest = try MSHVGuest([0x48, 0x89, 0x07, 0xF4])  // mov [rdi], rax
        try guest.start { $0.rdi = 0x2_0000 }
        let exit = try guest.vcpu.run(.continue)
        let offset = try guest.registers.rip &- Self.start
        say("a store to memory that is not there", "\(exit), RIP \(offset) behind its start")
    }

    @Test func `which model-specific registers there are`() throws {
        let guest = try MSHVGuest([0xF4])
        let found = guest.machine.mshvVCPU.modelSpecific.map { "\($0.0)" }
        let missing = MSHVRegister.modelSpecific.map { "\($0)" }.filter { !found.contains($0) }
        say(
            "registers that are not there or not reset",
            missing.isEmpty ? "none" : missing.joined(separator: " "))
        try guest.vcpu.reset()
    }

    @Test func `whether a guest's own int3 reaches it`() throws {
        let guest = try MSHVGuest([0xCC, 0xF4])
        try guest.vcpu.setBreakpoints(Breakpoints(software: [.init(0x9000)]))
        // It has no handler, so it must end as a triple fault.
        say(
            "an int3 that is given back",
            "\((try? guest.vcpu.run(.continue)).map { "\($0)" } ?? "an error")")
    }
}
