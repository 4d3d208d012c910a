import GuestModel
import Hypervisor

/// One instruction at a time.
let stepCases: [ConformanceCase] = [
    ConformanceCase("a step executes exactly one instruction", needs: .singleStep) { guest in
        try guest.load([
            0x48, 0xFF, 0xC0,  // inc rax
            0x90,  // nop
            0x48, 0x01, 0xC3,  // add rbx, rax
            0xF4,  // hlt
        ])
        try guest.expectStep(to: 3)
        try expectEqual(try guest.registers.rax, 1, "RAX")
        try expectEqual(try guest.registers.rbx, 0, "RBX")
        try guest.expectStep(to: 4)
        try guest.expectStep(to: 7)
        try expectEqual(try guest.registers.rbx, 1, "RBX")
    },
    ConformanceCase("a step never shows the trap flag", needs: .singleStep) { guest in
        try guest.load([0x90, 0x90, 0xF4])  // nop; nop; hlt
        try guest.expectStep(to: 1)
        try expectEqual(try guest.registers.rflags & 0x1_0100, 0, "TF and RF")
        try guest.expect(.halted)
    },
    ConformanceCase("steps follow branches", needs: .singleStep) { guest in
        try guest.load([
            0xEB, 0x02,  // jmp over the next two
            0xF4, 0xF4,  // hlt; hlt
            0x48, 0x39, 0xC0,  // cmp rax, rax
            0x74, 0x01,  // je over the next
            0xF4,  // hlt
            0x75, 0x10,  // jne, not taken
            0xE8, 0x01, 0, 0, 0,  // call over the next
            0xF4,  // hlt
            0xC3,  // ret
        ])
        for offset in [4, 7, 10, 12, 18, 17] as [UInt64] { try guest.expectStep(to: offset) }
    },
    ConformanceCase("a step over OUT ends with the port write", needs: .singleStep) { guest in
        try guest.load([
            0xB0, 0x07,  // mov al, 7
            0xE6, 0x65,  // out 101, al
            0x48, 0xFF, 0xC3,  // inc rbx
            0x90,  // nop
            0xF4,  // hlt
        ])
        try guest.expectStep(to: 2)
        try guest.expect(.portWrite(port: 101, size: 1, value: 7), at: 4, mode: .step)
        try expectEqual(try guest.registers.rbx, 0, "RBX")
        try guest.expectStep(to: 7)
        try expectEqual(try guest.registers.rbx, 1, "RBX")
        try guest.expect(.halted)
    },
    ConformanceCase("a step over HLT ends behind it", needs: .singleStep) { guest in
        try guest.load([0xF4, 0x90])  // hlt; nop
        let exit = try guest.run(.step)
        guard exit == .halted || exit == .debug(.step) else {
            throw ConformanceFailure(description: "expected a halt or a step, saw \(exit)")
        }
        try expectEqual(try guest.registers.rip, TestMemory.code + 1, "RIP")
    },
    ConformanceCase("after a step over HLT the guest runs on", needs: .singleStep) { guest in
        try guest.load([
            0xF4,  // hlt
            0x48, 0xFF, 0xC0,  // inc rax
            0x48, 0xFF, 0xC0,  // inc rax
            0xF4,  // hlt
        ])
        _ = try guest.run(.step)
        try guest.expect(.halted, at: 8)
        try expectEqual(try guest.registers.rax, 2, "RAX")
    },
    ConformanceCase("a step and a run may follow each other", needs: .singleStep) { guest in
        try guest.load([
            0x48, 0xFF, 0xC0,  // inc rax
            0xE6, 0x65,  // out 101, al
            0xEB, 0xF9,  // jmp to the inc
        ])
        for round in 1...5 {
            try guest.expectStep(to: 3)
            try guest.expect(.portWrite(port: 101, size: 1, value: UInt32(round)), at: 5)
            try guest.expectStep(to: 0)
        }
    },
    ConformanceCase("a step into an exception ends at its handler", needs: .singleStep) { guest in
        try guest.load([
            0x48, 0x8B, 0x07,  // mov rax, [rdi], not present
            0xF4,  // hlt
        ]) { $0.rdi = TestMemory.windowStart }
        try guest.installHandler([0xF4])  // hlt
        let exit = try guest.run(.step)
        try expectEqual(exit, .debug(.step), "exit")
        try expectEqual(try guest.registers.rip, TestMemory.handler, "RIP")
    },
]
