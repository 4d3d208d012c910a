import DriverConformance
import GuestModel
import Hypervisor
import HypervisorMSHV
import LinuxSystem

/// A machine with 64 KiB of identity-mapped memory and a program in it.
struct MSHVGuest {
    static let code: UInt64 = 0x4000

    let machine: MSHVMachine
    let memory = GuestMemory()
    var vcpu: any VirtualCPU { machine.vcpu }

    init(_ program: [UInt8], usesRegisterPage: Bool = true) throws {
        machine = try MSHVHost.makeMachine(usesRegisterPage: usesRegisterPage)
        let host = try HostMemory(byteCount: 0x10000)
        let region = unsafe MemoryRegion(
            start: .init(0), byteCount: host.byteCount, isGuestWritable: true, host: host.base)
        try memory.add(region)
        try machine.map(region)
        memory.load(program, at: Self.code)
        try start()
    }

    /// Puts the processor in front of the program, with everything as at first.
    func start(_ change: (inout RegisterFile) -> Void = { _ in }) throws {
        try vcpu.write(.longMode(pageTable: .init(0x1000)))
        var registers = RegisterFile()
        registers.rip = Self.code
        registers.rsp = 0x8000
        change(&registers)
        try vcpu.write(registers)
    }

    var registers: RegisterFile {
        get throws { try vcpu.readState().general }
    }
}
