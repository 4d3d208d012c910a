import GuestModel

/// Registers that debuggers have no names for, with their bits in words.
///
/// - Source: Intel SDM volume 3, "Control Registers" and "Extended Feature Enable Register"; volume 1,
///   "EFLAGS Register".
struct SystemRegistersReport {
    let state: VCPUState

    func append(to report: inout Report) {
        let system = state.system
        report.field("cr0", "\(system.cr0.hex)  \(bitNames(system.cr0, Self.cr0))")
        report.field("cr2", "\(system.cr2.hex)  last page fault address")
        report.field("cr3", "\(system.cr3.hex)  first page table")
        report.field("cr4", "\(system.cr4.hex)  \(bitNames(system.cr4, Self.cr4))")
        report.field("cr8", "\(system.cr8.hex)  task priority")
        report.field("efer", "\(system.efer.hex)  \(bitNames(system.efer, Self.efer))")
        report.field("apic base", system.apicBase.hex)
        report.field(
            "rflags", "\(state.general.rflags.hex)  \(bitNames(state.general.rflags, Self.flags))")
        for (name, segment) in [
            ("cs", system.cs), ("ds", system.ds), ("es", system.es), ("fs", system.fs),
            ("gs", system.gs), ("ss", system.ss), ("tr", system.tr), ("ldt", system.ldt),
        ] {
            report.field(name, segment.text)
        }
        report.field("gdtr", "base \(system.gdt.base.hex) limit \(system.gdt.limit.hex)")
        report.field("idtr", "base \(system.idt.base.hex) limit \(system.idt.limit.hex)")
    }

    private static let cr0: [(UInt64, String)] = [
        (31, "PG"), (30, "CD"), (29, "NW"), (18, "AM"), (16, "WP"), (5, "NE"), (4, "ET"),
        (3, "TS"), (2, "EM"), (1, "MP"), (0, "PE"),
    ]
    private static let cr4: [(UInt64, String)] = [
        (22, "PKE"), (21, "SMAP"), (20, "SMEP"), (18, "OSXSAVE"), (17, "PCIDE"), (16, "FSGSBASE"),
        (13, "VMXE"), (12, "LA57"), (11, "UMIP"), (10, "OSXMMEXCPT"), (9, "OSFXSR"), (8, "PCE"),
        (7, "PGE"), (6, "MCE"), (5, "PAE"), (4, "PSE"), (3, "DE"), (2, "TSD"), (1, "PVI"),
        (0, "VME"),
    ]
    private static let efer: [(UInt64, String)] = [
        (11, "NXE"), (10, "LMA"), (8, "LME"), (0, "SCE"),
    ]
    private static let flags: [(UInt64, String)] = [
        (21, "ID"), (18, "AC"), (17, "VM"), (16, "RF"), (14, "NT"), (11, "OF"), (10, "DF"),
        (9, "IF"), (8, "TF"), (7, "SF"), (6, "ZF"), (4, "AF"), (2, "PF"), (1, "fixed"), (0, "CF"),
    ]
}

extension Segment {
    /// For example "0x8 base 0x0 limit 0xfffff present code 64-bit DPL 0 type 11".
    fileprivate var text: String {
        var words = ["\(selector.hex) base \(base.hex) limit \(limit.hex)"]
        guard isPresent else { return words[0] + " not present" }
        let isCode = attributes & 0x18 == 0x18
        words.append("present")
        words.append(attributes & 0x10 == 0 ? "system" : isCode ? "code" : "data")
        if attributes & 0x2000 != 0 { words.append("64-bit") }
        words.append("DPL \(attributes >> 5 & 3) type \(attributes & 0xF)")
        return words.joined(separator: " ")
    }
}
