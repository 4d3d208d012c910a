import GuestModel
import Hypervisor

/// Register and memory state as the host sees it.
let registerCases: [ConformanceCase] = [
    ConformanceCase("each register keeps its own value after a write to any other") { guest in
        var expected = RegisterFile()
        for (index, path) in generalRegisters.enumerated() {
            expected[keyPath: path] = 0x1111_2222_0000_0000 + UInt64(index) * 0x0101
        }
        expected.rip = TestMemory.code
        expected.rflags = 0x2
        try guest.vcpu.write(expected)
        try expectEqual(try guest.registers, expected, "all registers")
        for (index, path) in generalRegisters.enumerated() {
            expected[keyPath: path] = 0xFEDC_BA98_7654_3210 &+ UInt64(index)
            try guest.vcpu.write(expected)
            try expectEqual(try guest.registers, expected, "after a write to register \(index)")
        }
        expected.rip = TestMemory.data
        expected.rflags = 0x8D7  // CF PF AF ZF SF OF
        try guest.vcpu.write(expected)
        try expectEqual(try guest.registers, expected, "RIP and RFLAGS")
    },
    ConformanceCase("the guest sees each register as it was written") { guest in
        // push of all sixteen, rax first
        try guest.load(
            (0..<8).map { 0x50 + $0 } + (0..<8).flatMap { [0x41, 0x50 + $0] } + [0xF4]
        ) { registers in
            for (index, path) in generalRegisters.enumerated() where path != \.rsp {
                registers[keyPath: path] = 0x7700_0000_0000_0000 + UInt64(index)
            }
        }
        try guest.expect(.halted)
        for index in 0..<16 where index != 4 {
            let word = try guest.word(at: TestMemory.stackTop - 8 * UInt64(index + 1))
            try expectEqual(word, 0x7700_0000_0000_0000 + UInt64(index), "register \(index)")
        }
        try expectEqual(try guest.registers.rsp, TestMemory.stackTop - 128, "RSP")
    },
    ConformanceCase("guest and host see each other's memory") { guest in
        try guest.write([0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0], at: TestMemory.data)
        try guest.load([
            0x48, 0x8B, 0x07,  // mov rax, [rdi]
            0x48, 0xFF, 0xC0,  // inc rax
            0x48, 0x89, 0x47, 0x08,  // mov [rdi + 8], rax
            0xF4,  // hlt
        ]) { $0.rdi = TestMemory.highStart + TestMemory.data }
        try guest.expect(.halted)
        try expectEqual(try guest.word(at: TestMemory.data + 8), 0x1122_3345, "stored word")
        // Again with other contents: nothing may be remembered from the first run.
        try guest.write([0xFF, 0, 0, 0, 0, 0, 0, 0], at: TestMemory.data)
        try guest.change { $0.rip = TestMemory.code }
        try guest.expect(.halted)
        try expectEqual(try guest.word(at: TestMemory.data + 8), 0x100, "stored word")
    },
    ConformanceCase("code replaced by the host is what runs next") { guest in
        try guest.load([0xB0, 0x01, 0xF4])  // mov al, 1; hlt
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 1, "RAX")
        try guest.load([0xB0, 0x02, 0xF4])  // mov al, 2; hlt
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 2, "RAX")
    },
    ConformanceCase("system registers read back as written") { guest in
        let state = try guest.vcpu.readState().system
        let written = SystemRegisters.longMode(pageTable: .init(TestMemory.pageTable))
        try expectEqual(state.cr0, written.cr0, "CR0")
        try expectEqual(state.cr3, written.cr3, "CR3")
        try expectEqual(state.cr4, written.cr4, "CR4")
        try expectEqual(state.efer, written.efer, "EFER")
        try expectEqual(state.cs.attributes, written.cs.attributes, "CS attributes")
        try expectEqual(state.cs.selector, written.cs.selector, "CS selector")
    },
    ConformanceCase("FS and GS base and the descriptor tables read back as written") { guest in
        var system = SystemRegisters.longMode(pageTable: .init(TestMemory.pageTable))
        system.fs.base = TestMemory.data
        system.gs.base = 0xFFFF_8000_1234_5678
        system.gdt = DescriptorTable(base: TestMemory.descriptors, limit: 0x37)
        system.idt = DescriptorTable(base: TestMemory.descriptors + 0x1000, limit: 0xFFF)
        try guest.vcpu.write(system)
        let state = try guest.vcpu.readState().system
        try expectEqual(state.fs.base, system.fs.base, "FS base")
        try expectEqual(state.gs.base, system.gs.base, "GS base")
        try expectEqual(state.gdt, system.gdt, "GDTR")
        try expectEqual(state.idt, system.idt, "IDTR")
        try guest.write([0x0D, 0xF0, 0, 0, 0, 0, 0, 0], at: TestMemory.data + 16)
        try guest.load([
            0x64, 0x48, 0x8B, 0x04, 0x25, 0x10, 0, 0, 0,  // mov rax, fs:[16]
            0xF4,  // hlt
        ])
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 0xF00D, "RAX")
    },
]

/// In the order of the instruction encoding.
private let generalRegisters: [any WritableKeyPath<RegisterFile, UInt64> & Sendable] = [
    \.rax, \.rcx, \.rdx, \.rbx, \.rsp, \.rbp, \.rsi, \.rdi,
    \.r8, \.r9, \.r10, \.r11, \.r12, \.r13, \.r14, \.r15,
]
