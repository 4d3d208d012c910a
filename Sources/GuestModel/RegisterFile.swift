/// The sixteen general registers, RIP and RFLAGS of one vCPU.
///
/// - Source: Intel SDM volume 1, "Basic Program Execution Registers".
package struct RegisterFile: Hashable, Sendable {
    package var rax: UInt64 = 0
    package var rbx: UInt64 = 0
    package var rcx: UInt64 = 0
    package var rdx: UInt64 = 0
    package var rsi: UInt64 = 0
    package var rdi: UInt64 = 0
    package var rbp: UInt64 = 0
    package var rsp: UInt64 = 0
    package var r8: UInt64 = 0
    package var r9: UInt64 = 0
    package var r10: UInt64 = 0
    package var r11: UInt64 = 0
    package var r12: UInt64 = 0
    package var r13: UInt64 = 0
    package var r14: UInt64 = 0
    package var r15: UInt64 = 0
    package var rip: UInt64 = 0
    /// Bit 1 is always one in a real CPU.
    package var rflags: UInt64 = 2

    package init() {}

    /// All eighteen values in the order of gdb's register numbers: rax rbx rcx rdx rsi rdi rbp rsp
    /// r8...r15 rip rflags.
    package typealias Words = InlineArray<18, UInt64>

    package var words: Words {
        [
            rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip,
            rflags,
        ]
    }

    package init(words: Words) {
        rax = words[0]
        rbx = words[1]
        rcx = words[2]
        rdx = words[3]
        rsi = words[4]
        rdi = words[5]
        rbp = words[6]
        rsp = words[7]
        r8 = words[8]
        r9 = words[9]
        r10 = words[10]
        r11 = words[11]
        r12 = words[12]
        r13 = words[13]
        r14 = words[14]
        r15 = words[15]
        rip = words[16]
        rflags = words[17]
    }
}

/// One segment register with its hidden part.
///
/// - Source: Intel SDM volume 3, "Segment Registers" and "Segment Descriptors".
package struct Segment: Hashable, Sendable {
    package var base: UInt64 = 0
    package var limit: UInt32 = 0
    package var selector: UInt16 = 0
    /// Bits 0-3 type, 4 S, 5-6 DPL, 7 present, 12 AVL, 13 L, 14 D/B, 15 G.
    package var attributes: UInt16 = 0

    package init(base: UInt64 = 0, limit: UInt32 = 0, selector: UInt16 = 0, attributes: UInt16 = 0)
    {
        self.base = base
        self.limit = limit
        self.selector = selector
        self.attributes = attributes
    }

    package var isPresent: Bool { attributes & 0x80 != 0 }
}

/// GDTR or IDTR.
package struct DescriptorTable: Hashable, Sendable {
    package var base: UInt64 = 0
    package var limit: UInt16 = 0

    package init(base: UInt64 = 0, limit: UInt16 = 0) {
        self.base = base
        self.limit = limit
    }
}

/// Segments, descriptor tables and control registers.
package struct SystemRegisters: Hashable, Sendable {
    package var cs = Segment()
    package var ds = Segment()
    package var es = Segment()
    package var fs = Segment()
    package var gs = Segment()
    package var ss = Segment()
    package var tr = Segment()
    package var ldt = Segment()
    package var gdt = DescriptorTable()
    package var idt = DescriptorTable()
    package var cr0: UInt64 = 0
    package var cr2: UInt64 = 0
    package var cr3: UInt64 = 0
    package var cr4: UInt64 = 0
    package var cr8: UInt64 = 0
    package var efer: UInt64 = 0
    package var apicBase: UInt64 = 0

    package init() {}

    /// What a Hyperlight guest starts with: 64-bit ring 0 with paging on and no descriptor tables.
    ///
    /// - Source: Hyperlight guest ABI 0.17, special registers at entry.
    package static func longMode(pageTable: GuestPhysicalAddress) -> SystemRegisters {
        var system = SystemRegisters()
        system.cr0 = 0x8005_0033
        system.cr3 = pageTable.rawValue
        system.cr4 = 0x620
        system.efer = 0xD01
        system.cs = Segment(attributes: 0x209B)
        system.tr = Segment(limit: 0xFFFF, attributes: 0x8B)
        return system
    }
}

/// Everything a stop shows of a vCPU without asking again: it travels with every stop event.
package struct VCPUState: Hashable, Sendable {
    package var general = RegisterFile()
    package var system = SystemRegisters()

    package init(general: RegisterFile = RegisterFile(), system: SystemRegisters = .init()) {
        self.general = general
        self.system = system
    }
}
