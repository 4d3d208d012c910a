import CLinux
import GuestModel

// KVM's structures and ours hold the same things under other names.

extension kvm_regs {
    init(_ file: RegisterFile) {
        self.init(
            rax: file.rax, rbx: file.rbx, rcx: file.rcx, rdx: file.rdx, rsi: file.rsi,
            rdi: file.rdi, rsp: file.rsp, rbp: file.rbp, r8: file.r8, r9: file.r9, r10: file.r10,
            r11: file.r11, r12: file.r12, r13: file.r13, r14: file.r14, r15: file.r15,
            rip: file.rip, rflags: file.rflags)
    }
}

extension RegisterFile {
    init(_ kvm: kvm_regs) {
        self.init()
        (rax, rbx, rcx, rdx) = (kvm.rax, kvm.rbx, kvm.rcx, kvm.rdx)
        (rsi, rdi, rbp, rsp) = (kvm.rsi, kvm.rdi, kvm.rbp, kvm.rsp)
        (r8, r9, r10, r11) = (kvm.r8, kvm.r9, kvm.r10, kvm.r11)
        (r12, r13, r14, r15) = (kvm.r12, kvm.r13, kvm.r14, kvm.r15)
        (rip, rflags) = (kvm.rip, kvm.rflags)
    }
}

extension kvm_segment {
    /// A segment that is not present is unusable to a CPU in 64-bit mode; KVM wants both said.
    init(_ segment: Segment) {
        func bit(_ number: UInt16) -> UInt8 { UInt8(segment.attributes >> number & 1) }
        self.init(
            base: segment.base, limit: segment.limit, selector: segment.selector,
            type: UInt8(segment.attributes & 0xF), present: bit(7),
            dpl: UInt8(segment.attributes >> 5 & 3), db: bit(14), s: bit(4), l: bit(13),
            g: bit(15), avl: bit(12), unusable: segment.isPresent ? 0 : 1, padding: 0)
    }
}

extension Segment {
    init(_ kvm: kvm_segment) {
        var attributes = UInt16(kvm.type & 0xF)
        attributes |= UInt16(kvm.s & 1) << 4 | UInt16(kvm.dpl & 3) << 5
        if kvm.unusable == 0 { attributes |= UInt16(kvm.present & 1) << 7 }
        attributes |= UInt16(kvm.avl & 1) << 12 | UInt16(kvm.l & 1) << 13
        attributes |= UInt16(kvm.db & 1) << 14 | UInt16(kvm.g & 1) << 15
        self.init(
            base: kvm.base, limit: kvm.limit, selector: kvm.selector, attributes: attributes)
    }
}

extension kvm_sregs {
    init(_ system: SystemRegisters) {
        self.init()
        (cs, ds, es) = (kvm_segment(system.cs), kvm_segment(system.ds), kvm_segment(system.es))
        (fs, gs, ss) = (kvm_segment(system.fs), kvm_segment(system.gs), kvm_segment(system.ss))
        (tr, ldt) = (kvm_segment(system.tr), kvm_segment(system.ldt))
        (gdt.base, gdt.limit) = (system.gdt.base, system.gdt.limit)
        (idt.base, idt.limit) = (system.idt.base, system.idt.limit)
        (cr0, cr2, cr3, cr4) = (system.cr0, system.cr2, system.cr3, system.cr4)
        (cr8, efer, apic_base) = (system.cr8, system.efer, system.apicBase)
    }
}

extension SystemRegisters {
    init(_ kvm: kvm_sregs) {
        self.init()
        (cs, ds, es) = (Segment(kvm.cs), Segment(kvm.ds), Segment(kvm.es))
        (fs, gs, ss) = (Segment(kvm.fs), Segment(kvm.gs), Segment(kvm.ss))
        (tr, ldt) = (Segment(kvm.tr), Segment(kvm.ldt))
        gdt = DescriptorTable(base: kvm.gdt.base, limit: kvm.gdt.limit)
        idt = DescriptorTable(base: kvm.idt.base, limit: kvm.idt.limit)
        (cr0, cr2, cr3, cr4) = (kvm.cr0, kvm.cr2, kvm.cr3, kvm.cr4)
        (cr8, efer, apicBase) = (kvm.cr8, kvm.efer, kvm.apic_base)
    }
}
