import GuestModel
import Hypervisor

/// OUT, IN and HLT.
let portCases: [ConformanceCase] = [
    ConformanceCase("OUT to an immediate port shows AL, and RIP is behind it") { guest in
        try guest.load([
            0xB0, 0x5A,  // mov al, 0x5a
            0xE6, 0x65,  // out 101, al
            0xF4,  // hlt
        ])
        try guest.expect(.portWrite(port: 101, size: 1, value: 0x5A), at: 4)
        try guest.expect(.halted)
    },
    ConformanceCase("OUT to an immediate port with sixteen and thirty-two bits") { guest in
        try guest.load([
            0x66, 0xE7, 0x64,  // out 100, ax
            0xE7, 0xFF,  // out 255, eax
            0xF4,  // hlt
        ]) { $0.rax = 0x1122_3344_5566_7788 }
        try guest.expect(.portWrite(port: 100, size: 2, value: 0x7788), at: 3)
        try guest.expect(.portWrite(port: 255, size: 4, value: 0x5566_7788), at: 5)
        try guest.expect(.halted)
    },
    ConformanceCase("OUT to the port in DX in all sizes") { guest in
        try guest.load([
            0xEE,  // out dx, al
            0x66, 0xEF,  // out dx, ax
            0xEF,  // out dx, eax
            0xF4,  // hlt
        ]) {
            $0.rax = 0x1122_3344_5566_7788
            $0.rdx = 0xFFFF_0000_0000_1234
        }
        try guest.expect(.portWrite(port: 0x1234, size: 1, value: 0x88), at: 1)
        try guest.expect(.portWrite(port: 0x1234, size: 2, value: 0x7788), at: 3)
        try guest.expect(.portWrite(port: 0x1234, size: 4, value: 0x5566_7788), at: 4)
        try guest.expect(.halted)
    },
    ConformanceCase("nothing behind an OUT runs before the exit is seen") { guest in
        try guest.load([
            0xE6, 0x65,  // out 101, al
            0x48, 0xFF, 0xC3,  // inc rbx
            0x48, 0xFF, 0xC3,  // inc rbx
            0xF4,  // hlt
        ])
        try guest.expect(.portWrite(port: 101, size: 1, value: 0), at: 2)
        try expectEqual(try guest.registers.rbx, 0, "RBX")
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rbx, 2, "RBX")
    },
    ConformanceCase("a register changed at an OUT is what the guest goes on with") { guest in
        try guest.load([
            0xE6, 0x65,  // out 101, al
            0x48, 0x89, 0xC3,  // mov rbx, rax
            0xF4,  // hlt
        ])
        try guest.expect(.portWrite(port: 101, size: 1, value: 0), at: 2)
        try guest.change { $0.rax = 0xAABB_CCDD_EEFF_0011 }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rbx, 0xAABB_CCDD_EEFF_0011, "RBX")
    },
    ConformanceCase("RIP changed at an OUT is where the guest goes on") { guest in
        try guest.load([
            0xE6, 0x65,  // out 101, al
            0x48, 0xFF, 0xC3,  // inc rbx
            0xF4,  // hlt
        ])
        try guest.expect(.portWrite(port: 101, size: 1, value: 0), at: 2)
        try guest.change { $0.rip = TestMemory.code + 5 }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rbx, 0, "RBX")
    },
    ConformanceCase("an OUT in a loop exits every time round") { guest in
        try guest.load([
            0x31, 0xC0,  // xor eax, eax
            0xFF, 0xC0,  // inc eax
            0xE7, 0x63,  // out 99, eax
            0xEB, 0xFA,  // jmp to the inc
        ])
        for round in 1...50 {
            try guest.expect(.portWrite(port: 99, size: 4, value: UInt32(round)), at: 6)
        }
    },
    ConformanceCase("more OUTs in a row than a driver may expect all exit exactly") { guest in
        let count = 80
        let pair: [UInt8] = [0xE6, 0x65, 0x48, 0xFF, 0xC3]  // out 101, al; inc rbx
        let back = UInt32(bitPattern: Int32(-pair.count * count - 5))
        try guest.load(
            [[UInt8]](repeating: pair, count: count).flatMap(\.self)
                + [0xE9] + (0..<4).map { UInt8(truncatingIfNeeded: back >> (8 * $0)) })
        for done in 0..<UInt64(3 * count) {
            let offset = UInt64(pair.count) * (done % UInt64(count)) + 2
            try guest.expect(.portWrite(port: 101, size: 1, value: 0), at: offset)
            try expectEqual(try guest.registers.rbx, done, "RBX")
        }
    },
    ConformanceCase("an OUT that the guest wrote itself exits too") { guest in
        // Nothing tells the driver of this code, so only the exit itself is promised at once.
        try guest.load([
            0xB8, 0xE6, 0x2A, 0xF4, 0xF4,  // mov eax, "out 42, al; hlt; hlt"
            0x89, 0x07,  // mov [rdi], eax
            0xFF, 0xD7,  // call rdi
        ]) { $0.rdi = TestMemory.data }
        try guest.expect(.portWrite(port: 42, size: 1, value: 0xE6))
        try expectEqual(try guest.registers.rip, TestMemory.data + 2, "RIP")
        try guest.expect(.halted)
    },
    ConformanceCase("IN is reported with its port") { guest in
        try guest.load([
            0xE4, 0x60,  // in al, 0x60
            0xF4,  // hlt
        ])
        try guest.expect(.portUnsupported(port: 0x60))
    },
    ConformanceCase("IN from the port in DX is reported with its port") { guest in
        try guest.load([
            0xED,  // in eax, dx
            0xF4,  // hlt
        ]) { $0.rdx = 0x3F8 }
        try guest.expect(.portUnsupported(port: 0x3F8))
    },
    ConformanceCase("HLT ends the run with RIP behind it") { guest in
        try guest.load([
            0x90,  // nop
            0xF4,  // hlt
            0x48, 0xFF, 0xC3,  // inc rbx
            0xF4,  // hlt
        ])
        try guest.expect(.halted, at: 2)
        try guest.expect(.halted, at: 6)
        try expectEqual(try guest.registers.rbx, 1, "RBX")
    },
]
