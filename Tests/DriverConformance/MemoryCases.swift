import GuestModel
import Hypervisor

/// Memory that is not there, page faults, triple faults, SSE.
let memoryCases: [ConformanceCase] = [
    ConformanceCase("a read of memory that is not there") { guest in
        try guest.load([0x90, 0x48, 0x8B, 0x07, 0xF4]) {  // nop; mov rax, [rdi]; hlt
            $0.rdi = TestMemory.unmapped + 0x10
        }
        try guest.expect(.memory(.init(TestMemory.unmapped + 0x10), .read))
    },
    ConformanceCase("a write to memory that is not there") { guest in
        try guest.load([0x90, 0x48, 0x89, 0x07, 0xF4]) {  // nop; mov [rdi], rax; hlt
            $0.rdi = TestMemory.unmapped + 0x10
        }
        try guest.expect(.memory(.init(TestMemory.unmapped + 0x10), .write))
    },
    ConformanceCase("a jump to where no memory is") { guest in
        try guest.load([0x90, 0xFF, 0xE7]) { $0.rdi = TestMemory.unmapped }  // nop; jmp rdi
        try guest.expect(.fetchUnmapped(.init(TestMemory.unmapped)))
        try expectEqual(try guest.registers.rip, TestMemory.unmapped, "RIP")
    },
    ConformanceCase("a read-only region can be read and executed") { guest in
        try guest.place([0x48, 0x8B, 0x07, 0xF4], at: TestMemory.readOnlyStart)  // mov rax, [rdi]
        try guest.write([0x2A, 0, 0, 0, 0, 0, 0, 0], at: TestMemory.readOnlyStart + 0x100)
        try guest.load([]) {
            $0.rip = TestMemory.readOnlyStart
            $0.rdi = TestMemory.readOnlyStart + 0x100
        }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 42, "RAX")
    },
    ConformanceCase("a write to a read-only region is an exit and changes nothing") { guest in
        try guest.load([0x90, 0x48, 0x89, 0x07, 0xF4]) {  // nop; mov [rdi], rax; hlt
            $0.rdi = TestMemory.readOnlyStart + 8
            $0.rax = 1
        }
        try guest.expect(.memory(.init(TestMemory.readOnlyStart + 8), .write))
        try expectEqual(try guest.word(at: TestMemory.readOnlyStart + 8), 0, "the word")
    },
    ConformanceCase("an exception without a handler is a shutdown") { guest in
        try guest.load([0x0F, 0x0B])  // ud2
        try guest.expect(.shutdown)
    },
    ConformanceCase("a page fault without a handler is a shutdown with CR2 set") { guest in
        try guest.load([0x48, 0x8B, 0x07]) {  // mov rax, [rdi]
            $0.rdi = TestMemory.windowStart + 0x123
        }
        try guest.expect(.shutdown)
        let cr2 = try guest.vcpu.readState().system.cr2
        try expectEqual(cr2, TestMemory.windowStart + 0x123, "CR2")
    },
    ConformanceCase("page faults are delivered and returned from, three times") { guest in
        try guest.load([
            0x48, 0x89, 0x07,  // mov [rdi], rax
            0x48, 0x89, 0x97, 0x00, 0x10, 0x00, 0x00,  // mov [rdi + 0x1000], rdx
            0x48, 0x89, 0x9F, 0x00, 0x20, 0x00, 0x00,  // mov [rdi + 0x2000], rbx
            0xF4,  // hlt
        ]) {
            $0.rdi = TestMemory.windowStart
            $0.rax = 0xA
            $0.rdx = 0xB
            $0.rbx = 0xC
        }
        try guest.installHandler(mapsWindow)
        try guest.expect(.halted, at: 18)
        for (page, value) in [0xA, 0xB, 0xC].enumerated() {
            let word = try guest.word(at: TestMemory.data + UInt64(page) * 0x1000)
            try expectEqual(word, UInt64(value), "page \(page)")
        }
        let registers = try guest.registers
        try expectEqual(registers.rsp, TestMemory.stackTop, "RSP")
        try expectEqual(registers.r8, 3, "number of faults")
        try expectEqual(registers.r9, 2, "error code of a write to a page that is not present")
        try expectEqual(
            try guest.vcpu.readState().system.cr2, TestMemory.windowStart + 0x2000, "CR2")
    },
    ConformanceCase("a run that begins where nothing is mapped faults there, and once") { guest in
        try guest.load([]) { $0.rip = TestMemory.windowStart }
        try guest.installHandler([0xF4])  // hlt
        try guest.expect(.halted)
        let frame = try guest.registers.rsp
        try expectEqual(try guest.word(at: frame), 0x10, "error code of a fetch")
        try expectEqual(try guest.word(at: frame + 8), TestMemory.windowStart, "pushed RIP")
        let cr2 = try guest.vcpu.readState().system.cr2
        try expectEqual(cr2, TestMemory.windowStart, "CR2")
    },
    ConformanceCase("OUT and HLT on a page that is not to be executed are page faults") { guest in
        try guest.load([])
        try guest.installHandler([0xF4])  // hlt
        let page: [UInt8] = [0xE6, 0x65, 0xF4]  // out 101, al; hlt
        try guest.write(page, at: TestMemory.data)
        let entry = TestMemory.data | 3 | 1 << 63
        _ = guest.memory.writeUInt64(entry, at: .init(TestMemory.windowTable))
        guest.vcpu.translationsChanged()
        for offset: UInt64 in [0, 2] {
            try guest.change {
                $0.rip = TestMemory.windowStart + offset
                $0.rsp = TestMemory.stackTop
            }
            try guest.expect(.halted)
            let registers = try guest.registers
            try expectEqual(registers.rip, TestMemory.handler + 1, "RIP")
            try expectEqual(try guest.word(at: registers.rsp), 0x11, "error code of the fetch")
            try expectEqual(
                try guest.word(at: registers.rsp + 8), TestMemory.windowStart + offset,
                "pushed RIP")
        }
    },
    ConformanceCase("an exception frame says where and how the guest stood") { guest in
        try guest.load([
            0x0F, 0x0B,  // ud2
            0xF4,  // hlt
        ]) { $0.rflags = 0x8D7 }
        try guest.installHandler([0xF4], vector: 6)  // hlt
        try guest.expect(.halted)
        let stack = try guest.registers.rsp
        try expectEqual(stack, TestMemory.stackTop - 40, "RSP in the handler")
        try expectEqual(try guest.word(at: stack), TestMemory.code, "pushed RIP")
        try expectEqual(try guest.word(at: stack + 8), 8, "pushed CS")
        try expectEqual(try guest.word(at: stack + 16) & 0xFFFF, 0x8D7, "pushed RFLAGS")
        try expectEqual(try guest.word(at: stack + 24), TestMemory.stackTop, "pushed RSP")
    },
    ConformanceCase("a divide error is delivered") { guest in
        try guest.load([
            0x31, 0xC9,  // xor ecx, ecx
            0xF7, 0xF1,  // div ecx
            0xF4,  // hlt
        ])
        try guest.installHandler([0x41, 0xB8, 0x07, 0, 0, 0, 0xF4], vector: 0)  // mov r8d, 7; hlt
        try guest.expect(.halted)
        try expectEqual(try guest.registers.r8, 7, "R8")
        let pushed = try guest.word(at: try guest.registers.rsp)
        try expectEqual(pushed, TestMemory.code + 2, "pushed RIP")
    },
    ConformanceCase("a software interrupt is delivered and returned from") { guest in
        try guest.load([
            0xCD, 0x40,  // int 0x40
            0x48, 0xFF, 0xC0,  // inc rax
            0xF4,  // hlt
        ])
        // add r8, 1; iretq
        try guest.installHandler([0x49, 0x83, 0xC0, 0x01, 0x48, 0xCF], vector: 0x40)
        try guest.expect(.halted, at: 6)
        try expectEqual(try guest.registers.r8, 1, "R8")
        try expectEqual(try guest.registers.rax, 1, "RAX")
    },
    ConformanceCase("an exception is delivered on the stack its gate names") { guest in
        try guest.load([0x0F, 0x0B]) { $0.rsp = 0x10 }  // ud2, without a usable stack
        try guest.installHandler([0xF4], vector: 6, stackIndex: 1)  // hlt
        try guest.expect(.halted)
        try expectEqual(
            try guest.registers.rsp, TestGuest.interruptStackTop - 40, "RSP in the handler")
        let pushed = try guest.word(at: TestGuest.interruptStackTop - 16)
        try expectEqual(pushed, 0x10, "pushed RSP")
    },
    ConformanceCase("page tables changed by the host are seen after the driver is told") { guest in
        let entry = TestMemory.windowTable
        _ = guest.memory.writeUInt64(TestMemory.data | 3, at: .init(entry))
        try guest.write([1, 0, 0, 0, 0, 0, 0, 0], at: TestMemory.data)
        try guest.write([2, 0, 0, 0, 0, 0, 0, 0], at: TestMemory.data + 0x1000)
        try guest.load([0x48, 0x8B, 0x07, 0xF4]) {  // mov rax, [rdi]; hlt
            $0.rdi = TestMemory.windowStart
        }
        guest.vcpu.translationsChanged()
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 1, "RAX")
        _ = guest.memory.writeUInt64((TestMemory.data + 0x1000) | 3, at: .init(entry))
        guest.vcpu.translationsChanged()
        try guest.change { $0.rip = TestMemory.code }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 2, "RAX")
    },
    ConformanceCase("SSE executes in ring 0", needs: .sse) { guest in
        try guest.load([
            0xF3, 0x0F, 0x7E, 0x07,  // movq xmm0, [rdi]
            0xF2, 0x0F, 0x58, 0xC0,  // addsd xmm0, xmm0
            0x66, 0x0F, 0xD6, 0x47, 0x08,  // movq [rdi + 8], xmm0
            0xF4,  // hlt
        ]) { $0.rdi = TestMemory.data }
        _ = guest.memory.writeUInt64((1.5).bitPattern, at: .init(TestMemory.data))
        try guest.expect(.halted)
        let sum = try guest.word(at: TestMemory.data + 8)
        try expectEqual(sum, (3.0).bitPattern, "the sum")
        if let state = try guest.vcpu.readExtendedState() {
            try expectEqual(
                Array(state.bytes[166..<168]), [0x08, 0x40], "top of XMM0 in the FXSAVE area")
        }
    },
]

/// A page fault handler: maps the faulting page of the window to the same page of the data area,
/// counts in R8 and leaves the last error code in R9.
let mapsWindow: [UInt8] = [
    0x49, 0xFF, 0xC0,  // inc r8
    0x41, 0x59,  // pop r9
    0x50,  // push rax
    0x51,  // push rcx
    0x0F, 0x20, 0xD0,  // mov rax, cr2
    0x48, 0xC1, 0xE8, 0x0C,  // shr rax, 12
    0x48, 0x25, 0xFF, 0x01, 0, 0,  // and rax, 0x1ff
    0x48, 0x89, 0xC1,  // mov rcx, rax
    0x48, 0xC1, 0xE0, 0x0C,  // shl rax, 12
    0x48, 0x05, 0x03, 0x00, 0x14, 0x00,  // add rax, data | 3
    0x48, 0x89, 0x04, 0xCD, 0x00, 0x40, 0x19, 0x00,  // mov [rcx * 8 + windowTable], rax
    0x59,  // pop rcx
    0x58,  // pop rax
    0x48, 0xCF,  // iretq
]
