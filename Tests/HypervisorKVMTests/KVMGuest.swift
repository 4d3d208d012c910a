import DriverConformance
import GuestModel
import Hypervisor
import HypervisorKVM
import LinuxSystem

/// A machine with 64 KiB of identity-mapped memory and a program in it.
struct KVMGuest {
    static let code: UInt64 = 0x4000

    let machine: KVMMachine
    let memory = GuestMemory()
    var vcpu: KVMVCPU { machine.kvmVCPU }

    init(
        _ program: [UInt8], usesSharedRegisters: Bool = true,
        capabilities: DriverCapabilities? = nil, numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws {
        machine = try KVMHost.makeMachine(
            usesSharedRegisters: usesSharedRegisters, capabilities: capabilities,
            numbers: numbers)
        let host = try HostMemory(byteCount: 0x10000)
        let region = unsafe MemoryRegion(
            start: .init(0), byteCount: host.byteCount, isGuestWritable: true, host: host.base)
        try memory.add(region)
        try machine.map(region)
        memory.load(program, at: Self.code)
        try vcpu.write(.longMode(pageTable: .init(0x1000)))
        var registers = RegisterFile()
        registers.rip = Self.code
        registers.rsp = 0x8000
        try vcpu.write(registers)
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

    /// How many requests to the vCPU `body` makes.
    func requests(_ body: () throws -> Void) rethrows -> Int {
        let before = vcpu.ioctlCount
        try body()
        return vcpu.ioctlCount - before
    }
}
