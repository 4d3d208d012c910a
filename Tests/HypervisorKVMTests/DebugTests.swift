import CLinux
import GuestModel
import Hypervisor
import Testing

@testable import HypervisorKVM

/// What KVM is asked to intercept, and what its debug exits mean; needs no KVM.
struct DebugTests {
    private static let code = GuestVirtualAddress(0x4000)
    private static let data = GuestVirtualAddress(0x5004)

    /// DR0 for an instruction, DR1 to DR3 for memory.
    private static let registers: [DebugRegister] = [
        .instruction(code), .data(.write, data, byteCount: 4),
        .data(.read, .init(0x6000), byteCount: 8), .data(.access, .init(0x7001), byteCount: 1),
    ]

    @Test func `all four debug registers are armed with their conditions`() {
        let debug = KVMGuestDebug(Breakpoints(), registers: Self.registers, mode: .continue)
        let argument = debug.argument
        #expect(argument.control == 0x2_0001)  // enabled, hardware breakpoints
        let registers = argument.arch.debugreg
        #expect(registers.0 == 0x4000)
        #expect(registers.1 == 0x5004)
        #expect(registers.2 == 0x6000)
        #expect(registers.3 == 0x7001)
        // From the left: DR3 any access to one byte, DR2 any of eight, DR1 writes to four, DR0.
        #expect(registers.7 == 0b0011_1011_1101_0000 << 16 | 0x400 | 0b0101_0101)
    }

    @Test func `a step without breakpoints arms nothing`() {
        let debug = KVMGuestDebug(Breakpoints(), registers: [], mode: .step)
        #expect(debug.argument.control == 0x3)  // enabled, single step
        #expect(debug.argument.arch.debugreg.7 == 0)
    }

    struct Exit: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let exception: UInt32
        let pc: UInt64
        let dr6: UInt64
        let isStepping: Bool
        let meaning: DebugExit
    }

    @Test(arguments: [
        Exit(
            testDescription: "int3", exception: 3, pc: 0x4000, dr6: 0xFFFF_0FF0,
            isStepping: false, meaning: .softwareBreakpoint(code)),
        Exit(
            testDescription: "an instruction", exception: 1, pc: 0x4000, dr6: 0xFFFF_0FF1,
            isStepping: false, meaning: .hardwareBreakpoint(code)),
        Exit(
            testDescription: "a step", exception: 1, pc: 0x4001, dr6: 0xFFFF_4FF0,
            isStepping: true, meaning: .step),
        Exit(
            testDescription: "a step onto an armed instruction", exception: 1, pc: 0x4000,
            dr6: 0xFFFF_4FF0, isStepping: true, meaning: .step),
        Exit(
            testDescription: "a store", exception: 1, pc: 0x4010, dr6: 0xFFFF_0FF2,
            isStepping: false, meaning: .watchpoint(.write, data)),
        Exit(
            testDescription: "a load", exception: 1, pc: 0x4010, dr6: 0xFFFF_0FF4,
            isStepping: false, meaning: .watchpoint(.read, .init(0x6000))),
        Exit(
            testDescription: "a step that stores", exception: 1, pc: 0x4010, dr6: 0xFFFF_4FF2,
            isStepping: true, meaning: .watchpoint(.write, data)),
        Exit(
            testDescription: "a store in front of an armed instruction", exception: 1, pc: 0x4000,
            dr6: 0xFFFF_4FF3, isStepping: true, meaning: .watchpoint(.write, data)),
        Exit(
            testDescription: "two at once", exception: 1, pc: 0x4010, dr6: 0xFFFF_0FFC,
            isStepping: false, meaning: .watchpoint(.read, .init(0x6000))),
        Exit(
            testDescription: "a trap of the guest's own", exception: 1, pc: 0x4010,
            dr6: 0xFFFF_4FF0, isStepping: false, meaning: .guest),
    ])
    func `a debug exit means`(_ exit: Exit) {
        var debug = kvm_debug_exit_arch()
        debug.exception = exit.exception
        debug.pc = exit.pc
        debug.dr6 = exit.dr6
        let meaning = DebugExit(
            debug, registers: Self.registers, isStepping: exit.isStepping)
        #expect(meaning == exit.meaning)
    }
}
