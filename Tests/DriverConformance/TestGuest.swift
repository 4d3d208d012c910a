import GuestModel
import Hypervisor

/// One machine with `TestMemory` mapped, in 64-bit ring 0 with paging on.
final class TestGuest {
    let machine: any VirtualMachine
    let memory: GuestMemory
    var vcpu: any VirtualCPU { machine.vcpu }

    init(machine: any VirtualMachine, memory: TestMemory) throws {
        self.machine = machine
        self.memory = memory.guest
        for region in memory.guest.regions { try machine.map(region) }
        try vcpu.write(SystemRegisters.longMode(pageTable: .init(TestMemory.pageTable)))
    }

    /// Puts `code` at `address` and tells the driver; the vCPU stays where it is.
    func place(_ code: [UInt8], at address: UInt64 = TestMemory.code) throws {
        try write(code, at: address)
        vcpu.codeChanged()
    }

    /// Puts `code` at the usual address and the vCPU in front of it.
    func load(_ code: [UInt8], change: (inout RegisterFile) -> Void = { _ in }) throws {
        try place(code)
        var registers = RegisterFile()
        registers.rip = TestMemory.code
        registers.rsp = TestMemory.stackTop
        change(&registers)
        try vcpu.write(registers)
    }

    func write(_ bytes: [UInt8], at address: UInt64) throws {
        guard memory.write(bytes, at: .init(address)) else {
            throw ConformanceFailure(description: "no memory at \(hex(address))")
        }
    }

    func word(at address: UInt64) throws -> UInt64 {
        guard let word = memory.readUInt64(at: .init(address)) else {
            throw ConformanceFailure(description: "no memory at \(hex(address))")
        }
        return word
    }

    /// Runs until something other than "nothing happened" comes.
    func run(_ mode: RunMode = .continue) throws -> VMExit {
        for _ in 0..<100 {
            let exit = try vcpu.run(mode)
            if exit != .interrupted { return exit }
        }
        throw ConformanceFailure(description: "100 runs without any exit")
    }

    /// Runs and wants exactly `exit`; `offset` is where RIP must stand, from the start of the code.
    func expect(_ exit: VMExit, at offset: UInt64? = nil, mode: RunMode = .continue) throws {
        let seen = try run(mode)
        guard seen == exit else {
            throw ConformanceFailure(
                description: "expected \(exit), saw \(seen), RIP \(hex(try registers.rip))")
        }
        guard let offset else { return }
        try expectEqual(try registers.rip, TestMemory.code + offset, "RIP after \(exit)")
    }

    /// One step that ends `offset` bytes behind the start of the code.
    func expectStep(to offset: UInt64) throws {
        try expect(.debug(.step), at: offset, mode: .step)
    }

    var registers: RegisterFile {
        get throws { try vcpu.readState().general }
    }

    /// Changes some registers and leaves the others as they are.
    func change(_ body: (inout RegisterFile) -> Void) throws {
        var registers = try registers
        body(&registers)
        try vcpu.write(registers)
    }
}

func expectEqual<T: Equatable>(_ seen: T, _ expected: T, _ what: String) throws {
    guard seen == expected else {
        throw ConformanceFailure(
            description: "\(what): expected \(text(expected)), saw \(text(seen))")
    }
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

private func text<T>(_ value: T) -> String {
    if let number = value as? UInt64 { hex(number) } else { "\(value)" }
}
