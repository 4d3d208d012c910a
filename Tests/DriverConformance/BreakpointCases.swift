import GuestModel
import Hypervisor

/// Hardware and software breakpoints, and the guest's own `int3`.
let breakpointCases: [ConformanceCase] = [
    ConformanceCase("four hardware breakpoints hit in turn", needs: .hardwareBreakpoints) { guest in
        try guest.load(fiveIncrements)
        let offsets: [UInt64] = [3, 6, 9, 12]
        try guest.vcpu.setBreakpoints(
            Breakpoints(hardware: offsets.map { .init(TestMemory.code + $0) }))
        for (index, offset) in offsets.enumerated() {
            let address = GuestVirtualAddress(TestMemory.code + offset)
            try guest.expect(.debug(.hardwareBreakpoint(address)), at: offset)
            try expectEqual(try guest.registers.rax, UInt64(index + 1), "RAX before the hit")
            try guest.stepOff(offsets.map { .init(TestMemory.code + $0) })
        }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 5, "RAX")
    },
    ConformanceCase("five hardware breakpoints are refused") { guest in
        let addresses = (0..<5).map { GuestVirtualAddress(TestMemory.code + UInt64($0)) }
        do {
            try guest.vcpu.setBreakpoints(Breakpoints(hardware: addresses))
        } catch HypervisorError.tooManyBreakpoints(let limit) {
            try expectEqual(limit, 4, "limit")
            return
        }
        throw ConformanceFailure(description: "five breakpoints were accepted")
    },
    ConformanceCase("a thousand software breakpoints come and go one by one in good time") {
        guest in
        try guest.load(fiveIncrements)
        var addresses: [GuestVirtualAddress] = []
        for offset in 0..<UInt64(1024) {
            addresses.append(.init(TestMemory.code + offset))
            try guest.vcpu.setBreakpoints(Breakpoints(software: addresses))
        }
        while !addresses.isEmpty {
            addresses.removeLast()
            try guest.vcpu.setBreakpoints(Breakpoints(software: addresses))
        }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 5, "RAX")
    },
    ConformanceCase("a hardware breakpoint where a run starts hits", needs: .hardwareBreakpoints) {
        guest in
        try guest.load(fiveIncrements)
        let address = GuestVirtualAddress(TestMemory.code)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        for _ in 0..<3 { try guest.expect(.debug(.hardwareBreakpoint(address)), at: 0) }
        try expectEqual(try guest.registers.rax, 0, "RAX")
    },
    ConformanceCase("a breakpoint taken away does not hit", needs: .hardwareBreakpoints) { guest in
        try guest.load(fiveIncrements)
        let address = GuestVirtualAddress(TestMemory.code + 6)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        try guest.expect(.debug(.hardwareBreakpoint(address)), at: 6)
        try guest.vcpu.setBreakpoints(Breakpoints())
        try guest.expect(.halted)
        try guest.change { $0.rip = TestMemory.code }
        try guest.expect(.halted)
    },
    ConformanceCase(
        "a hardware breakpoint in a loop hits every time round",
        needs: [.hardwareBreakpoints, .singleStep]
    ) { guest in
        try guest.load([
            0x48, 0xFF, 0xC0,  // inc rax
            0x48, 0xFF, 0xC3,  // inc rbx
            0xEB, 0xF8,  // jmp to the first inc
        ])
        let address = GuestVirtualAddress(TestMemory.code + 3)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        for round in 1...10 {
            try guest.expect(.debug(.hardwareBreakpoint(address)), at: 3)
            try expectEqual(try guest.registers.rax, UInt64(round), "RAX")
            try expectEqual(try guest.registers.rbx, UInt64(round - 1), "RBX")
            try guest.stepOff([address])
        }
    },
    ConformanceCase(
        "a software breakpoint hits and the guest goes on behind it",
        needs: [.breakpointInstruction, .singleStep]
    ) { guest in
        try guest.load(fiveIncrements)
        let address = GuestVirtualAddress(TestMemory.code + 6)
        try guest.setSoftwareBreakpoint(address)
        try guest.expect(.debug(.softwareBreakpoint(address)), at: 6)
        try expectEqual(try guest.registers.rax, 2, "RAX")
        try guest.clearSoftwareBreakpoint(address, original: fiveIncrements[6])
        try guest.expectStep(to: 9)
        try guest.setSoftwareBreakpoint(address)
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 5, "RAX")
        try guest.change { $0.rip = TestMemory.code }
        try guest.expect(.debug(.softwareBreakpoint(address)), at: 6)
    },
    ConformanceCase(
        "a step from a hardware breakpoint's address, once cleared, executes it",
        needs: [.hardwareBreakpoints, .singleStep]
    ) { guest in
        try guest.load(fiveIncrements)
        let address = GuestVirtualAddress(TestMemory.code + 3)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        try guest.expect(.debug(.hardwareBreakpoint(address)), at: 3)
        try guest.vcpu.setBreakpoints(Breakpoints())
        try guest.expectStep(to: 6)
        try expectEqual(try guest.registers.rax, 2, "RAX")
    },
    ConformanceCase(
        "a breakpoint on an OUT comes before its exit", needs: [.hardwareBreakpoints, .singleStep]
    ) { guest in
        try guest.load([
            0xB0, 0x09,  // mov al, 9
            0xE6, 0x65,  // out 101, al
            0xF4,  // hlt
        ])
        let address = GuestVirtualAddress(TestMemory.code + 2)
        try guest.vcpu.setBreakpoints(Breakpoints(hardware: [address]))
        try guest.expect(.debug(.hardwareBreakpoint(address)), at: 2)
        try guest.vcpu.setBreakpoints(Breakpoints())
        try guest.expect(.portWrite(port: 101, size: 1, value: 9), at: 4)
        try guest.expect(.halted)
    },
    ConformanceCase("the guest's own int3 stops at the int3", needs: .breakpointInstruction) {
        guest in
        try guest.load([
            0x48, 0xFF, 0xC0,  // inc rax
            0xCC,  // int3
            0x48, 0xFF, 0xC0,  // inc rax
            0xF4,  // hlt
        ])
        let address = GuestVirtualAddress(TestMemory.code + 3)
        try guest.vcpu.setBreakpoints(Breakpoints(catchesBreakpointInstruction: true))
        try guest.expect(.debug(.softwareBreakpoint(address)), at: 3)
        try expectEqual(try guest.registers.rax, 1, "RAX")
        try guest.change { $0.rip = TestMemory.code + 4 }
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 2, "RAX")
    },
    ConformanceCase("an int3 that nobody catches is the guest's", needs: .breakpointInstruction) {
        guest in
        try guest.load([
            0xCC,  // int3
            0x48, 0xFF, 0xC0,  // inc rax, which only the handler's return would reach
            0xF4,  // hlt
        ])
        let moveSevenAndHalt: [UInt8] = [0xB8, 0x07, 0x00, 0x00, 0x00, 0xF4]
        try guest.installHandler(moveSevenAndHalt, vector: 3)
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 7, "RAX")
    },
]

/// `inc rax` five times, three bytes each, and `hlt`.
private let fiveIncrements: [UInt8] =
    (0..<5).flatMap { _ in [0x48, 0xFF, 0xC0] as [UInt8] } + [0xF4]

extension TestGuest {
    /// Steps over the hardware breakpoint at RIP as the worker does: clear, one step, set again.
    fileprivate func stepOff(_ hardware: [GuestVirtualAddress]) throws {
        try vcpu.setBreakpoints(Breakpoints())
        try expect(.debug(.step), mode: .step)
        try vcpu.setBreakpoints(Breakpoints(hardware: hardware))
    }

    fileprivate func setSoftwareBreakpoint(_ address: GuestVirtualAddress) throws {
        if vcpu.patchesSoftwareBreakpoints { try place([0xCC], at: address.rawValue) }
        try vcpu.setBreakpoints(Breakpoints(software: [address]))
    }

    fileprivate func clearSoftwareBreakpoint(
        _ address: GuestVirtualAddress, original: UInt8
    ) throws {
        if vcpu.patchesSoftwareBreakpoints { try place([original], at: address.rawValue) }
        try vcpu.setBreakpoints(Breakpoints())
    }
}
