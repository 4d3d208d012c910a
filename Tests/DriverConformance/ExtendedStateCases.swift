import GuestModel
import Hypervisor

/// x87, SSE, AVX and the kernel GS base, as the host reads and writes them.
let extendedStateCases: [ConformanceCase] = [
    ConformanceCase("x87 and SSE begin as after a reset", needs: .sse) { guest in
        let state = try guest.extended()
        try expectEqual(Array(state.bytes[0..<5]), [0x7F, 0x03, 0, 0, 0], "x87 control words")
        try expectEqual(state.mxcsr, 0x1F80, "MXCSR")
        try expectEqual(state.bytes[32..<416].allSatisfy { $0 == 0 }, true, "the rest is zero")
        try guest.load([
            0x0F, 0xAE, 0x1F,  // stmxcsr [rdi]
            0xD9, 0x7F, 0x04,  // fnstcw [rdi + 4]
            0xF4,  // hlt
        ]) { $0.rdi = TestMemory.data }
        try guest.expect(.halted)
        try expectEqual(
            try guest.word(at: TestMemory.data), 0x037F_0000_1F80, "as the guest sees it")
    },
    ConformanceCase("extended state reads back as written", needs: .sse) { guest in
        try guest.vcpu.write(try written())
        try guest.expectWritten("at once")
    },
    ConformanceCase(
        "other writes and a step leave extended state alone", needs: [.sse, .singleStep]
    ) {
        guest in
        try guest.load([0x48, 0xFF, 0xC0, 0x90, 0xF4])  // inc rax; nop; hlt
        try guest.vcpu.write(try written())
        try guest.change { $0.rbx = 0x1234 }
        try guest.expectWritten("after a write of the general registers")
        var system = try guest.vcpu.readState().system
        system.fs.base = TestMemory.data
        system.gs.base = TestMemory.data + 8
        try guest.vcpu.write(system)
        try guest.expectWritten("after a write of segments")
        try guest.expectStep(to: 3)
        try guest.expectWritten("after a step")
        try guest.change { $0.rcx = 0x5678 }
        try guest.expectStep(to: 4)
        try guest.expectWritten("after another write and a step")
        let registers = try guest.registers
        try expectEqual(registers.rbx, 0x1234, "RBX")
        try expectEqual(registers.rcx, 0x5678, "RCX")
    },
    ConformanceCase("a write of extended state leaves other registers alone", needs: .sse) {
        guest in
        try guest.load([0xF4]) { $0.rdx = 0xDD }
        let before = try guest.vcpu.readState()
        try guest.vcpu.write(try written())
        try expectEqual(try guest.vcpu.readState(), before, "the state")
    },
    ConformanceCase("the guest sees x87 and SSE registers as they were written", needs: .sse) {
        guest in
        try guest.load([
            0x0F, 0x11, 0x2F,  // movups [rdi], xmm5
            0x44, 0x0F, 0x11, 0x7F, 0x10,  // movups [rdi + 16], xmm15
            0x0F, 0xAE, 0x5F, 0x20,  // stmxcsr [rdi + 32]
            0xD9, 0x7F, 0x28,  // fnstcw [rdi + 40]
            0xDB, 0x7F, 0x30,  // fstp tbyte [rdi + 48]
            0xDB, 0x7F, 0x40,  // fstp tbyte [rdi + 64]
            0xF4,  // hlt
        ]) { $0.rdi = TestMemory.data }
        let state = try written()
        try guest.vcpu.write(state)
        try guest.expect(.halted)
        func expect(_ offset: UInt64, _ range: Range<Int>, _ what: String) throws {
            for (index, byte) in state.bytes[range].enumerated() {
                let place = TestMemory.data + offset + UInt64(index)
                try expectEqual(try guest.word(at: place) & 0xFF, UInt64(byte), "\(what), \(index)")
            }
        }
        try expect(0, 240..<256, "XMM5")
        try expect(16, 400..<416, "XMM15")
        try expect(32, 24..<28, "MXCSR")
        try expect(40, 0..<2, "FCW")
        try expect(48, 32..<42, "ST0")
        try expect(64, 48..<58, "ST1")
    },
    ConformanceCase("MXCSR takes the bits that the CPU has and no other", needs: .sse) { guest in
        var bytes = try written().bytes
        for index in 24..<28 { bytes[index] = 0xFF }
        try guest.vcpu.write(try extended(bytes))
        let state = try guest.extended()
        try expectEqual(state.mxcsr, state.mxcsrMask, "MXCSR")
        try guest.load([0x0F, 0xAE, 0x1F, 0xF4]) { $0.rdi = TestMemory.data }  // stmxcsr [rdi]; hlt
        try guest.expect(.halted)
        let seen = try guest.word(at: TestMemory.data)
        try expectEqual(seen, UInt64(state.mxcsrMask), "MXCSR in the guest")
    },
    ConformanceCase("the kernel GS base is what SWAPGS exchanges", needs: .sse) { guest in
        var system = try guest.vcpu.readState().system
        system.gs.base = 0x1111_0000
        try guest.vcpu.write(system)
        var state = try guest.extended()
        state.kernelGSBase = 0xFFFF_8000_2222_0000
        try guest.vcpu.write(state)
        try expectEqual(try guest.extended(), state, "the state written")
        try guest.load([0x0F, 0x01, 0xF8, 0xF4])  // swapgs; hlt
        try guest.expect(.halted)
        try expectEqual(
            try guest.vcpu.readState().system.gs.base, 0xFFFF_8000_2222_0000, "GS base")
        try expectEqual(try guest.extended().kernelGSBase, 0x1111_0000, "kernel GS base")
        // Without one the guest's own stays.
        state.kernelGSBase = nil
        try guest.vcpu.write(state)
        try expectEqual(try guest.extended().kernelGSBase, 0x1111_0000, "kernel GS base")
    },
    ConformanceCase("upper halves of YMM registers are there while AVX is on", needs: .avx) {
        guest in
        try expectEqual(try guest.extended().upperYMM, nil, "upper halves before")
        var system = try guest.vcpu.readState().system
        system.cr4 |= 1 << 18  // OSXSAVE
        try guest.vcpu.write(system)
        try guest.load([
            0x0F, 0x01, 0xD1,  // xsetbv
            0xF4,  // hlt
            0xC5, 0xFC, 0x11, 0x2F,  // vmovups [rdi], ymm5
            0xC5, 0xFC, 0x58, 0xED,  // vaddps ymm5, ymm0, ymm5
            0xF4,  // hlt
        ]) { ($0.rax, $0.rdi) = (7, TestMemory.data) }
        try guest.expect(.halted)
        try expectEqual(
            try guest.extended().upperYMM, [UInt8](repeating: 0, count: 256), "at first")
        let upper = (0..<256).map { UInt8(truncatingIfNeeded: $0 &* 3) }
        let state = ExtendedState(fxsave: try written().bytes, upperYMM: upper)
        guard let state else { throw ConformanceFailure(description: "no state") }
        try guest.vcpu.write(state)
        try expectEqual(try guest.extended().upperYMM, upper, "as written")
        try guest.expectWritten("with AVX")
        try guest.change { $0.rbx = 1 }
        try guest.expect(.halted)
        for index in 0..<16 {
            let place = TestMemory.data + 16 + UInt64(index)
            try expectEqual(
                try guest.word(at: place) & 0xFF, UInt64(upper[80 + index]), "YMM5, \(index)")
        }
    },
    ConformanceCase("upper halves are refused while AVX is off") { guest in
        let state = ExtendedState(
            fxsave: try written().bytes, upperYMM: [UInt8](repeating: 0, count: 256))
        guard let state else { throw ConformanceFailure(description: "no state") }
        do {
            try guest.vcpu.write(state)
        } catch HypervisorError.missing {
            return
        }
        throw ConformanceFailure(description: "upper halves were taken")
    },
]

private func extended(_ bytes: [UInt8]) throws -> ExtendedState {
    guard let state = ExtendedState(fxsave: bytes) else {
        throw ConformanceFailure(description: "\(bytes.count) bytes are no FXSAVE area")
    }
    return state
}

/// An FXSAVE area with something in every register: two of x87 are in use.
private func written() throws -> ExtendedState {
    var bytes = [UInt8](repeating: 0, count: ExtendedState.byteCount)
    bytes[0] = 0x7F
    bytes[1] = 0x02  // precision of doubles
    bytes[3] = 0x30  // top of the x87 stack: 6
    bytes[4] = 0xC0  // two registers in use
    bytes[24] = 0x80
    bytes[25] = 0x3F  // rounding down
    for index in 32..<42 { bytes[index] = UInt8(index) | 0x80 }
    for index in 48..<58 { bytes[index] = UInt8(index) | 0x80 }
    for index in 160..<416 { bytes[index] = UInt8(truncatingIfNeeded: index &* 7) }
    return try extended(bytes)
}

extension TestGuest {
    func extended() throws -> ExtendedState {
        guard let state = try vcpu.readExtendedState() else {
            throw ConformanceFailure(description: "the driver shows no extended state")
        }
        return state
    }

    /// Wants the state of `written`.
    fileprivate func expectWritten(_ when: String) throws {
        let (read, bytes) = (try extended().bytes, try written().bytes)
        try expectEqual(Array(read[0..<5]), Array(bytes[0..<5]), "x87 control words \(when)")
        try expectEqual(Array(read[24..<28]), Array(bytes[24..<28]), "MXCSR \(when)")
        try expectEqual(Array(read[32..<42]), Array(bytes[32..<42]), "ST0 \(when)")
        try expectEqual(Array(read[48..<58]), Array(bytes[48..<58]), "ST1 \(when)")
        try expectEqual(Array(read[160..<416]), Array(bytes[160..<416]), "XMM registers \(when)")
    }
}
