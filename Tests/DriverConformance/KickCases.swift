import ConformanceSupport
import GuestModel
import Hypervisor

/// Stopping a guest from outside.
let kickCases: [ConformanceCase] = [
    ConformanceCase("a kick ends a run of a guest that spins") { guest in
        try guest.load([0xEB, 0xFE])  // jmp to itself
        for _ in 0..<5 {
            try guest.kick(after: 20) {
                try expectEqual(try guest.vcpu.run(.continue), .interrupted, "exit")
            }
            try expectEqual(try guest.registers.rip, TestMemory.code, "RIP")
            guest.vcpu.clearKick()
        }
    },
    ConformanceCase("registers of a kicked guest belong together and it goes on from there") {
        guest in
        try guest.load([
            0x48, 0xFF, 0xC3,  // inc rbx
            0xEB, 0x03,  // jmp over the next three
            0xF4, 0xF4, 0xF4,
            0x48, 0xFF, 0xC1,  // inc rcx
            0xEB, 0xF3,  // jmp to the start
        ])
        for round in 1...10 {
            try guest.kick(after: 3 + UInt32(round)) {
                try expectEqual(try guest.vcpu.run(.continue), .interrupted, "exit")
            }
            guest.vcpu.clearKick()
            let registers = try guest.registers
            let isBetween = (3...8).contains(registers.rip - TestMemory.code)
            try expectEqual(registers.rbx &- registers.rcx, isBetween ? 1 : 0, "RBX - RCX")
        }
    },
    ConformanceCase("a step after a free run ends after one instruction") { guest in
        try guest.load([
            0x48, 0xFF, 0xC3,  // inc rbx
            0x48, 0xFF, 0xC1,  // inc rcx
            0xEB, 0xF8,  // jmp to the start
        ])
        let following: [UInt64: UInt64] = [0: 3, 3: 6, 6: 0]
        for round in 1...5 {
            try guest.kick(afterMicroseconds: 5000 * UInt32(round)) {
                try expectEqual(try guest.vcpu.run(.continue), .interrupted, "exit")
            }
            guest.vcpu.clearKick()
            for _ in 0..<6 {
                let offset = try guest.registers.rip - TestMemory.code
                // The kick ends a step that would not end.
                try guest.kick(afterMicroseconds: 1_000_000) {
                    try guest.expectStep(to: following[offset] ?? .max)
                }
            }
        }
    },
    ConformanceCase("a kick during a step neither loses a step nor invents one", needs: .singleStep)
    { guest in
        try guest.load([
            0x48, 0xFF, 0xC3,  // inc rbx
            0x48, 0xFF, 0xC1,  // inc rcx
            0xEB, 0xF8,  // jmp to the start
        ])
        let following: [UInt64: UInt64] = [0: 3, 3: 6, 6: 0]
        for round in 0..<1000 {
            try guest.kick(afterMicroseconds: 1 + UInt32(round) * 7 % 150) {
                while true {
                    let before = try guest.registers.rip - TestMemory.code
                    let exit = try guest.vcpu.run(.step)
                    let after = try guest.registers.rip - TestMemory.code
                    if exit == .interrupted {
                        return try expectEqual(after, before, "RIP after no step")
                    }
                    try expectEqual(exit, .debug(.step), "exit")
                    try expectEqual(after, following[before] ?? .max, "RIP after a step")
                }
            }
            guest.vcpu.clearKick()
        }
    },
    ConformanceCase("a kick at any moment of a short run ends it") { guest in
        try guest.load([0xEB, 0xFE])  // jmp to itself
        for round in 0..<2000 {
            try guest.kick(afterMicroseconds: 1 + UInt32(round) * 7 % 150) {
                try expectEqual(try guest.vcpu.run(.continue), .interrupted, "exit")
            }
            guest.vcpu.clearKick()
        }
    },
    ConformanceCase("a kick before a run ends it at once") { guest in
        try guest.load([0x48, 0xFF, 0xC0, 0xF4])  // inc rax; hlt
        guest.kickNow()
        try expectEqual(try guest.vcpu.run(.continue), .interrupted, "exit")
        try expectEqual(try guest.registers.rip, TestMemory.code, "RIP")
        try expectEqual(try guest.registers.rax, 0, "RAX")
    },
    ConformanceCase("a kick that is cleared is forgotten") { guest in
        try guest.load([0x48, 0xFF, 0xC0, 0xF4])  // inc rax; hlt
        guest.kickNow()
        guest.vcpu.clearKick()
        try guest.expect(.halted)
        try expectEqual(try guest.registers.rax, 1, "RAX")
    },
    ConformanceCase("kicks at any moment lose no port write and repeat none") { guest in
        try guest.load([
            0x48, 0xFF, 0xC0,  // inc rax
            0xE7, 0x65,  // out 101, eax
            0xEB, 0xF9,  // jmp to the inc
        ])
        var expected: UInt32 = 0
        for _ in 0..<20 {
            try guest.kick(after: 1) {
                while true {
                    switch try guest.vcpu.run(.continue) {
                    case .interrupted: return
                    case .portWrite(_, _, let value):
                        expected += 1
                        try expectEqual(value, expected, "value written")
                    case let other: throw ConformanceFailure(description: "saw \(other)")
                    }
                }
            }
            guest.vcpu.clearKick()
        }
    },
]

extension TestGuest {
    /// Applies the kick by a signal to this thread `milliseconds` from now, while `body` runs.
    fileprivate func kick(after milliseconds: UInt32, during body: () throws -> Void) throws {
        try kick(afterMicroseconds: milliseconds * 1000, during: body)
    }

    fileprivate func kick(
        afterMicroseconds microseconds: UInt32, during body: () throws -> Void
    ) throws {
        var kick = unsafe conformanceKick
        // SAFETY: the timer that refers to `kick` is gone when this scope ends.
        try unsafe withUnsafeMutablePointer(to: &kick) { pointer in
            let timer = unsafe conformance_arm_kick(pointer, microseconds)
            guard timer >= 0 else { throw ConformanceFailure(description: "no timer: \(timer)") }
            defer { conformance_disarm(timer) }
            try body()
        }
    }

    /// What the signal handler does, without a signal.
    fileprivate func kickNow() {
        switch vcpu.kick {
        case .flag(let byte): unsafe byte.pointee = 1
        case .function(let function, let argument): unsafe function(argument)
        }
    }

    private var conformanceKick: conformance_kick {
        switch vcpu.kick {
        case .flag(let byte):
            return unsafe conformance_kick(function: nil, argument: nil, flag: byte)
        case .function(let function, let argument):
            return unsafe conformance_kick(function: function, argument: argument, flag: nil)
        }
    }
}
