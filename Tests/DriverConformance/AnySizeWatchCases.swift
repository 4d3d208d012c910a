import GuestModel
import Hypervisor

private let data = TestMemory.data

/// What a driver does that needs no debug registers for watching memory.
let anySizeWatchCases: [ConformanceCase] = [
    ConformanceCase("a watch may have any size") { guest in
        let size = 3 * 0x1000 + 5
        let (start, end) = (data + 0x123, data + 0x123 + UInt64(size))
        try guest.watch(.write, start, size)
        for address in [start - 3, start, start + 0x1000, start + 0x2FFF, end - 1] {
            try guest.load(storeFour) { $0.rdi = address }
            let first = GuestVirtualAddress(max(address, start))
            try guest.expect(.debug(.watchpoint(.write, first)), at: 2)
        }
        for address in [start - 4, end, start - 0x1000, end + 0x1000] {
            try guest.load(storeFour) { $0.rdi = address }
            try guest.expect(.halted)
        }
    },
    ConformanceCase("the longest watch takes its ends and costs no time beside them") { guest in
        _ = guest.memory.writeUInt64(data | 3, at: .init(TestMemory.windowTable))
        guest.vcpu.translationsChanged()
        let window = TestMemory.windowStart
        // From the window's beginning on, and up to its seventh byte.
        for start in [window, window + 7 - UInt64(watchedBytesMax)] {
            try guest.watch(.write, start, watchedBytesMax)
            try guest.load(storeFour) { $0.rdi = window + 6 }
            try guest.expect(.debug(.watchpoint(.write, .init(window + 6))), at: 2)
        }
        try guest.load([
            0x89, 0x07,  // mov [rdi], eax
            0xFF, 0xC9,  // dec ecx
            0x75, 0xFA,  // jnz to the start
            0xF4,  // hlt
        ]) {
            $0.rdi = window + 7
            $0.rcx = 1000
        }
        try guest.expect(.halted)
    },
    ConformanceCase("a read watch does not stop at a store") { guest in
        try guest.load([
            0x89, 0x07,  // mov [rdi], eax
            0x8B, 0x07,  // mov eax, [rdi]
            0x01, 0x07,  // add [rdi], eax
            0xF4,  // hlt
        ]) { $0.rdi = data }
        try guest.watch(.read, data, 4)
        try guest.expect(.debug(.watchpoint(.read, .init(data))), at: 4)
        try guest.expect(.debug(.watchpoint(.read, .init(data))), at: 6)
        try guest.expect(.halted)
    },
    ConformanceCase("64 watches work beside four breakpoints, 65 are refused") { guest in
        let list = (0..<UInt64(65)).map { (WatchKind.write, data + 16 * $0, 3) }
        try guest.load(storeFour) { $0.rdi = data + 16 * 63 }
        let all = try watchpoints(list)
        let hardware = (10..<14).map { GuestVirtualAddress(TestMemory.code + UInt64($0)) }
        try guest.vcpu.setBreakpoints(
            Breakpoints(hardware: hardware, watchpoints: Array(all.prefix(64))))
        do {
            try guest.vcpu.setBreakpoints(Breakpoints(watchpoints: all))
            throw ConformanceFailure(description: "65 watches were accepted")
        } catch HypervisorError.tooManyBreakpoints(let limit) {
            try expectEqual(limit, 64, "limit")
        }
        try guest.expect(.debug(.watchpoint(.write, .init(data + 16 * 63))), at: 2)
    },
    ConformanceCase("a repeated store stops behind the repetition that hits") { guest in
        try guest.load([0xF3, 0xAA, 0xF4]) {  // rep stosb; hlt
            $0.rdi = data
            $0.rcx = 10
        }
        try guest.watch(.write, data + 4, 2)
        for left in [5, 4] as [UInt64] {
            try guest.expect(.debug(.watchpoint(.write, .init(data + 9 - left))), at: 0)
            try expectEqual(try guest.registers.rcx, left, "RCX")
        }
        try guest.expect(.halted)
    },
    ConformanceCase("a copy tells its two addresses apart, though both have one place in a page") {
        guest in
        _ = guest.memory.writeUInt64(data | 3, at: .init(TestMemory.windowTable))
        guest.vcpu.translationsChanged()
        let window = TestMemory.windowStart
        let cases: [(from: UInt64, to: UInt64, WatchKind, isHit: Bool)] = [
            (data, window, .write, false), (window, data, .write, true),
            (data, window, .read, true), (window, data, .read, false),
            (data, window + 0x40, .write, false), (window + 0x40, data, .write, true),
        ]
        for (from, to, kind, isHit) in cases {
            try guest.watch(kind, data, 8)
            try guest.load([0x48, 0xA5, 0xF4]) {  // movsq; hlt
                $0.rsi = from
                $0.rdi = to
            }
            if isHit { try guest.expect(.debug(.watchpoint(kind, .init(data))), at: 2) }
            try guest.expect(.halted)
        }
    },
    ConformanceCase("uses of every way to write an address are found") { guest in
        for (code, change) in waysToStore {
            try guest.load(code + [0xF4], change: change)
            var system = try guest.vcpu.readState().system
            system.fs.base = data - 0x20
            try guest.vcpu.write(system)
            try guest.watch(.write, data, 8)
            try guest.expectUse(.write, within: data, 8)
            try expectEqual(
                try guest.registers.rip, TestMemory.code + UInt64(code.count), "RIP after \(code)")
        }
    },
    ConformanceCase("an instruction that faults has used nothing yet") { guest in
        try guest.load([
            0x48, 0xA5,  // movsq, to a page that is not present
            0xF4,  // hlt
        ]) {
            $0.rsi = data + 0x800
            $0.rdi = TestMemory.windowStart + 0x100
        }
        try guest.installHandler(mapsWindow)
        try guest.watch(.read, data + 0x800, 8)
        try guest.expect(.debug(.watchpoint(.read, .init(data + 0x800))), at: 2)
        try expectEqual(try guest.registers.r8, 1, "number of faults")
        try guest.expect(.halted)
    },
    ConformanceCase("a use comes before a fault at the next instruction's fetch") { guest in
        let target = TestMemory.windowStart
        try guest.load([0xFF, 0xD0]) { $0.rax = target }  // call rax, where nothing is mapped
        try guest.installHandler([0xF4])
        let slot = TestMemory.stackTop - 8
        try guest.watch(.write, slot, 8)
        try guest.expect(.debug(.watchpoint(.write, .init(slot))))
        try expectEqual(try guest.registers.rip, target, "RIP")
        try expectEqual(try guest.word(at: slot), TestMemory.code + 2, "return address")
        try guest.expect(.halted)
        let frame = try guest.registers.rsp
        try expectEqual(try guest.word(at: frame), 0x10, "error code of a fetch")
        try expectEqual(try guest.word(at: frame + 8), target, "pushed RIP")
        try expectEqual(try guest.vcpu.readState().system.cr2, target, "CR2")
    },
    ConformanceCase("an exception's frame is a use of the stack") { guest in
        for mode in [RunMode.continue, .step] {
            try guest.load([0x0F, 0x0B])  // ud2
            try guest.installHandler([0xF4], vector: 6)
            // The pushed RIP.
            try guest.watch(.write, TestMemory.stackTop - 40, 8)
            try guest.expect(
                .debug(.watchpoint(.write, .init(TestMemory.stackTop - 40))), mode: mode)
            try expectEqual(try guest.registers.rip, TestMemory.handler, "RIP")
            try guest.expect(.halted)
        }
    },
    ConformanceCase("a store into the block it stands in is done when it is reported") { guest in
        let target = TestMemory.code + 8
        try guest.load([
            0xC6, 0x07, 0x90,  // mov byte [rdi], 0x90
            0x48, 0xFF, 0xC1,  // inc rcx
            0x90, 0x90,  // nop; nop
            0xF4,  // hlt, which the store replaces
            0x48, 0xFF, 0xC3,  // inc rbx
            0xF4,  // hlt
        ]) { $0.rdi = target }
        try guest.watch(.write, target, 1)
        try guest.expect(.debug(.watchpoint(.write, .init(target))), at: 3)
        try expectEqual(try guest.word(at: target) & 0xFF, 0x90, "the stored byte")
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rbx, 1, "RBX")
    },
]

/// A store of four bytes to where RDI points, and `hlt`.
private let storeFour: [UInt8] = [0x89, 0x07, 0xF4]

/// Instructions that write to `data` when FS starts at `data - 0x20`.
private let waysToStore: [([UInt8], @Sendable (inout RegisterFile) -> Void)] = [
    ([0x89, 0x44, 0x8F, 0x10], { ($0.rdi, $0.rcx) = (data - 0x18, 2) }),  // mov [rdi+rcx*4+16],eax
    ([0x67, 0x89, 0x07], { $0.rdi = 0xFFFF_0000_0000_0000 | data }),  // mov [edi], eax
    ([0x43, 0x89, 0x04, 0x01], { ($0.r8, $0.r9) = (data - 8, 8) }),  // mov [r9+r8], eax
    ([0x64, 0x89, 0x04, 0x25, 0x20, 0, 0, 0], { _ in }),  // mov fs:[0x20], eax
    // mov [rip + ...], eax
    ([0x89, 0x05] + bytes(UInt32(data - TestMemory.code - 6)), { _ in }),
    ([0xA3] + bytes(UInt64(data)), { _ in }),  // mov [absolute], eax
    ([0x50], { $0.rsp = data + 8 }),  // push rax
    ([0x9C], { $0.rsp = data + 8 }),  // pushfq
    ([0xC8, 0x10, 0, 0], { $0.rsp = data + 8 }),  // enter 16, 0
    ([0x8F, 0x07], { ($0.rdi, $0.rsp) = (data, data + 0x100) }),  // pop [rdi]
    ([0x87, 0x07], { $0.rdi = data }),  // xchg [rdi], eax
    ([0xF0, 0x0F, 0xC1, 0x07], { $0.rdi = data }),  // lock xadd [rdi], eax
    ([0x48, 0x0F, 0xC7, 0x0F], { $0.rdi = data }),  // cmpxchg16b [rdi]
    // bts [rdi], rax: bit 64 * 16 from there
    ([0x48, 0x0F, 0xAB, 0x07], { ($0.rdi, $0.rax) = (data - 128, 1024) }),
    ([0xAB], { $0.rdi = data }),  // stosd
    ([0x0F, 0xAE, 0x07], { $0.rdi = data - 0x100 }),  // fxsave [rdi]
    ([0xDD, 0x37], { $0.rdi = data - 0x60 }),  // fnsave [rdi]
    ([0x0F, 0x01, 0x0F], { $0.rdi = data }),  // sidt [rdi]
    // pcmpeqd xmm0, xmm0; maskmovdqu xmm0, xmm0
    ([0x66, 0x0F, 0x76, 0xC0, 0x66, 0x0F, 0xF7, 0xC0], { $0.rdi = data - 4 }),
    ([0x0F, 0x94, 0x07], { $0.rdi = data + 7 }),  // setz [rdi]
]

private func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    (0..<Value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> Value($0 * 8)) }
}
