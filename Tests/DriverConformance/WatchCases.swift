import GuestModel
import Hypervisor

private let data = TestMemory.data

/// Memory whose use stops the guest, as far as debug registers can do it.
let watchCases: [ConformanceCase] = [
    ConformanceCase("a write watch stops behind the store and not at a load", needs: .watchpoints) {
        guest in
        try guest.load([
            0x48, 0x8B, 0x07,  // mov rax, [rdi]
            0x48, 0x89, 0x1F,  // mov [rdi], rbx
            0x48, 0xFF, 0xC1,  // inc rcx
            0xF4,  // hlt
        ]) {
            $0.rdi = data
            $0.rbx = 0x1234
        }
        try guest.watch(.write, data, 8)
        try guest.expect(.debug(.watchpoint(.write, .init(data))), at: 6)
        try expectEqual(try guest.word(at: data), 0x1234, "the stored word")
        try expectEqual(try guest.registers.rcx, 0, "RCX")
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rcx, 1, "RCX")
    },
    ConformanceCase("an access watch stops behind loads and stores", needs: .watchpoints) { guest in
        try guest.load([
            0x8B, 0x07,  // mov eax, [rdi]
            0x90,  // nop
            0x89, 0x1F,  // mov [rdi], ebx
            0xFF, 0x07,  // inc dword [rdi]
            0xF4,  // hlt
        ]) { $0.rdi = data }
        try guest.watch(.access, data, 4)
        for offset in [2, 5, 7] as [UInt64] {
            try guest.expect(.debug(.watchpoint(.access, .init(data))), at: offset)
        }
        try guest.expect(.halted)
    },
    ConformanceCase("a read watch stops behind a load", needs: .watchpoints) { guest in
        try guest.load([0x8A, 0x07, 0xF4]) { $0.rdi = data }  // mov al, [rdi]; hlt
        try guest.watch(.read, data, 1)
        try guest.expect(.debug(.watchpoint(.read, .init(data))), at: 2)
        try guest.expect(.halted)
    },
    ConformanceCase("watches of every size take what touches them and no more", needs: .watchpoints)
    {
        guest in
        for size in [1, 2, 4, 8] as [UInt64] {
            for width in [1, 2, 4, 8] as [UInt64] {
                // Behind, in front, then the first and the last place that touches.
                for start in [data + size, data - width] {
                    try guest.watch(.write, data, Int(size))
                    try guest.load(store(width)) { $0.rdi = start }
                    try guest.expect(.halted)
                }
                for start in [data - width + 1, data + size - 1] {
                    try guest.load(store(width)) { $0.rdi = start }
                    try guest.expectUse(.write, within: data, size)
                    try guest.expect(.halted)
                }
            }
        }
    },
    ConformanceCase(
        "a watch that is aligned to nothing takes each of its bytes", needs: .watchpoints
    ) {
        guest in
        // One, two, two and one: all four debug registers.
        let (start, size) = (data + 1, 6 as UInt64)
        try guest.watch(.write, start, Int(size))
        for address in [start - 1, start + size] {
            try guest.load(store(1)) { $0.rdi = address }
            try guest.expect(.halted)
        }
        for address in start..<start + size {
            try guest.load(store(1)) { $0.rdi = address }
            try guest.expectUse(.write, within: start, size)
        }
        // From below, over all of it, and across its middle.
        for address in [start - 7, start - 1, start + 2] {
            try guest.load(store(8)) { $0.rdi = address }
            try guest.expectUse(.write, within: start, size)
        }
    },
    ConformanceCase("a watch across two pages takes stores on both and across", needs: .watchpoints)
    {
        guest in
        let start = data + 0xFFC
        try guest.watch(.write, start, 8)
        for address in [start - 7, start, start + 3, start + 4, start + 7] {
            try guest.load(store(8)) { $0.rdi = address }
            try guest.expectUse(.write, within: start, 8)
        }
        for address in [start - 8, start + 8] {
            try guest.load(store(8)) { $0.rdi = address }
            try guest.expect(.halted)
        }
    },
    ConformanceCase(
        "watched are linear addresses, whatever memory they lead to", needs: .watchpoints
    ) {
        guest in
        let window = TestMemory.windowStart
        _ = guest.memory.writeUInt64(data | 3, at: .init(TestMemory.windowTable))
        guest.vcpu.translationsChanged()
        // The same bytes can be seen in three places.
        let places = [data, window, TestMemory.highStart + data]
        for watched in places {
            try guest.watch(.access, watched + 16, 4)
            for used in places {
                try guest.load([0x89, 0x07, 0x8B, 0x07, 0xF4]) { $0.rdi = used + 16 }
                if used == watched {
                    // Behind the store and behind the load.
                    try guest.expectUse(.access, within: watched + 16, 4)
                    try guest.expectUse(.access, within: watched + 16, 4)
                }
                try guest.expect(.halted)
            }
        }
    },
    ConformanceCase("a watched page may be mapped later, and elsewhere then", needs: .watchpoints) {
        guest in
        let page = TestMemory.windowStart + 0x1000
        try guest.watch(.write, page + 8, 8)
        try guest.load([
            0x48, 0x89, 0x47, 0x08,  // mov [rdi + 8], rax, not present at first
            0x48, 0xFF, 0xC3,  // inc rbx
            0xF4,  // hlt
        ]) {
            $0.rdi = page
            $0.rax = 0xAB
        }
        try guest.installHandler(mapsWindow)
        try guest.expect(.debug(.watchpoint(.write, .init(page + 8))), at: 4)
        try expectEqual(try guest.word(at: data + 0x1008), 0xAB, "the stored word")
        try expectEqual(try guest.registers.r8, 1, "number of faults")
        try guest.expect(.halted)
        _ = guest.memory.writeUInt64((data + 0x3000) | 3, at: .init(TestMemory.windowTable + 8))
        guest.vcpu.translationsChanged()
        try guest.change { $0.rip = TestMemory.code }
        try guest.expect(.debug(.watchpoint(.write, .init(page + 8))), at: 4)
        try expectEqual(try guest.word(at: data + 0x3008), 0xAB, "the word stored elsewhere")
    },
    ConformanceCase("what the host does with watched memory is no use of it", needs: .watchpoints) {
        guest in
        try guest.load([0x90, 0x90, 0xF4])  // nop; nop; hlt
        try guest.watch(.access, data, 8)
        try guest.write([1, 2, 3], at: data)
        _ = try guest.word(at: data)
        try guest.expect(.halted)
    },
    ConformanceCase("a watch that is gone takes nothing", needs: .watchpoints) { guest in
        try guest.load(store(8)) { $0.rdi = data }
        try guest.watch(.write, data, 8)
        try guest.expectUse(.write, within: data, 8)
        try guest.expect(.halted)
        try guest.vcpu.setBreakpoints(Breakpoints())
        try guest.change { $0.rip = TestMemory.code }
        try guest.expect(.halted)
    },
    ConformanceCase("each of several watches reports itself", needs: .watchpoints) { guest in
        try guest.load([
            0x89, 0x07,  // mov [rdi], eax
            0x8B, 0x06,  // mov eax, [rsi]
            0x89, 0x02,  // mov [rdx], eax
            0xF4,  // hlt
        ]) {
            $0.rdi = data
            $0.rsi = data + 0x1004
            $0.rdx = data + 0x2008
        }
        try guest.watch([
            (.write, data, 4), (.access, data + 0x1004, 4), (.write, data + 0x2008, 4),
        ])
        try guest.expect(.debug(.watchpoint(.write, .init(data))), at: 2)
        try guest.expect(.debug(.watchpoint(.access, .init(data + 0x1004))), at: 4)
        try guest.expect(.debug(.watchpoint(.write, .init(data + 0x2008))), at: 6)
        try guest.expect(.halted)
    },
    ConformanceCase(
        "a step that uses watched memory says so", needs: [.watchpoints, .singleStep]
    ) { guest in
        try guest.load([
            0x90,  // nop
            0x89, 0x07,  // mov [rdi], eax
            0x90,  // nop
            0xF4,  // hlt
        ]) { $0.rdi = data }
        try guest.watch(.write, data, 4)
        try guest.expectStep(to: 1)
        try guest.expect(.debug(.watchpoint(.write, .init(data))), at: 3, mode: .step)
        try guest.expectStep(to: 4)
        try guest.expect(.halted)
    },
    ConformanceCase(
        "a use of watched memory comes before the breakpoint behind it",
        needs: [.watchpoints, .hardwareBreakpoints, .singleStep]
    ) { guest in
        let behind = GuestVirtualAddress(TestMemory.code + 2)
        for mode in [RunMode.continue, .step] {
            try guest.load(store(4)) { $0.rdi = data }
            try guest.vcpu.setBreakpoints(
                Breakpoints(hardware: [behind], watchpoints: try watchpoints([(.write, data, 4)])))
            try guest.expect(.debug(.watchpoint(.write, .init(data))), at: 2, mode: mode)
            try guest.expect(.debug(.hardwareBreakpoint(behind)), at: 2)
        }
    },
    ConformanceCase("a use of watched memory comes before the exit behind it", needs: .watchpoints)
    {
        guest in
        try guest.load([
            0x88, 0x07,  // mov [rdi], al
            0xE6, 0x65,  // out 101, al
            0x88, 0x07,  // mov [rdi], al
            0xEB, 0x00,  // jmp to the next
            0xF4,  // hlt
        ]) { $0.rdi = data }
        try guest.watch(.write, data, 1)
        try guest.expectUse(.write, within: data, 1)
        try guest.expect(.portWrite(port: 101, size: 1, value: 0), at: 4)
        try guest.expect(.debug(.watchpoint(.write, .init(data))), at: 6)
        try guest.expect(.halted)
    },
    ConformanceCase("the stack can be watched", needs: .watchpoints) { guest in
        try guest.load([
            0x50,  // push rax
            0x5B,  // pop rbx
            0xE8, 0x01, 0, 0, 0,  // call over the next
            0xF4,  // hlt
            0xC3,  // ret
        ])
        try guest.watch(.access, TestMemory.stackTop - 8, 8)
        for offset in [1, 2, 8, 7] as [UInt64] {
            try guest.expect(
                .debug(.watchpoint(.access, .init(TestMemory.stackTop - 8))), at: offset)
        }
        try guest.expect(.halted)
    },
    ConformanceCase("an SSE store is a use of each of its bytes", needs: [.watchpoints, .sse]) {
        guest in
        for offset in [0, 7, 8, 15] as [UInt64] {
            try guest.load([0x0F, 0x11, 0x07, 0xF4]) { $0.rdi = data }  // movups [rdi], xmm0
            try guest.watch(.write, data + offset, 1)
            try guest.expect(.debug(.watchpoint(.write, .init(data + offset))), at: 3)
            try guest.expect(.halted)
        }
    },
    ConformanceCase("a loop beside watched memory runs to its end", needs: .watchpoints) { guest in
        try guest.load([
            0x89, 0x07,  // mov [rdi], eax
            0x8B, 0x06,  // mov eax, [rsi]
            0xFF, 0xC9,  // dec ecx
            0x75, 0xF8,  // jnz to the start
            0xF4,  // hlt
        ]) {
            $0.rdi = data + 4
            // The watched place in another page.
            $0.rsi = data + 0x1000
            $0.rcx = 10_000
        }
        try guest.watch(.access, data, 4)
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rcx, 0, "RCX")
    },
]

/// `mov [rdi], rax` of that many bytes, and `hlt`.
private func store(_ width: UInt64) -> [UInt8] {
    switch width {
    case 1: [0x88, 0x07, 0xF4]
    case 2: [0x66, 0x89, 0x07, 0xF4]
    case 4: [0x89, 0x07, 0xF4]
    default: [0x48, 0x89, 0x07, 0xF4]
    }
}

func watchpoints(_ list: [(WatchKind, UInt64, Int)]) throws -> [Watchpoint] {
    try list.map { kind, start, byteCount in
        guard let range = GuestVirtualRange(start: .init(start), byteCount: byteCount),
            let watchpoint = Watchpoint(kind, range)
        else { throw ConformanceFailure(description: "no range at \(hex(start))") }
        return watchpoint
    }
}

extension TestGuest {
    func watch(_ kind: WatchKind, _ start: UInt64, _ byteCount: Int) throws {
        try watch([(kind, start, byteCount)])
    }

    /// Sets these watchpoints and no other breakpoints.
    func watch(_ list: [(WatchKind, UInt64, Int)]) throws {
        try vcpu.setBreakpoints(Breakpoints(watchpoints: try watchpoints(list)))
    }

    /// Runs and wants a use of watched memory whose address lies in the range.
    func expectUse(_ kind: WatchKind, within start: UInt64, _ size: UInt64) throws {
        let exit = try run()
        if case .debug(.watchpoint(kind, let address)) = exit,
            address.rawValue &- start < size
        {
            return
        }
        throw ConformanceFailure(
            description:
                "expected a use of \(hex(start)), saw \(exit), RDI \(hex(try registers.rdi))"
        )
    }
}
