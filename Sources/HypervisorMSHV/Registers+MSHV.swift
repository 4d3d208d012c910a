import GuestModel

extension RegisterFile {
    /// Those of `changed`, for a hypercall.
    func entries(_ changed: GeneralRegisterSet) -> [(MSHVRegister, RegisterValue)] {
        var entries: [(MSHVRegister, RegisterValue)] = []
        if changed.contains(.general) {
            let values = hardwareOrder
            for (index, register) in MSHVRegister.general.enumerated() {
                entries.append((register, RegisterValue(values[index])))
            }
        }
        if changed.contains(.rip) { entries.append((.rip, RegisterValue(rip))) }
        if changed.contains(.rflags) { entries.append((.rflags, RegisterValue(rflags))) }
        return entries
    }
}

extension SystemRegisters {
    /// Those that the register page does not have.
    static let namesBesidePage: [MSHVRegister] = [.tr, .ldtr, .gdtr, .idtr, .cr2, .apicBase]
    /// All, by the names to read them.
    static let names: [MSHVRegister] =
        [.cs, .ds, .es, .fs, .gs, .ss, .cr0, .cr3, .cr4, .cr8, .efer] + namesBesidePage

    /// All, by the names to write them.
    var entries: [(MSHVRegister, RegisterValue)] {
        [
            (.cs, RegisterValue(cs)), (.ds, RegisterValue(ds)), (.es, RegisterValue(es)),
            (.fs, RegisterValue(fs)), (.gs, RegisterValue(gs)), (.ss, RegisterValue(ss)),
            (.tr, RegisterValue(tr)), (.ldtr, RegisterValue(ldt)), (.gdtr, RegisterValue(gdt)),
            (.idtr, RegisterValue(idt)), (.intermediateCR0, RegisterValue(cr0)),
            (.cr2, RegisterValue(cr2)), (.intermediateCR3, RegisterValue(cr3)),
            (.intermediateCR4, RegisterValue(cr4)), (.cr8, RegisterValue(cr8)),
            (.efer, RegisterValue(efer)), (.apicBase, RegisterValue(apicBase)),
        ]
    }

    /// Takes over what a hypercall has read under these names.
    mutating func take(_ values: [RegisterValue], _ names: [MSHVRegister]) {
        for (name, value) in zip(names, values) {
            switch name {
            case .cs: cs = value.segment
            case .ds: ds = value.segment
            case .es: es = value.segment
            case .fs: fs = value.segment
            case .gs: gs = value.segment
            case .ss: ss = value.segment
            case .tr: tr = value.segment
            case .ldtr: ldt = value.segment
            case .gdtr: gdt = value.table
            case .idtr: idt = value.table
            case .cr0: cr0 = value.low
            case .cr2: cr2 = value.low
            case .cr3: cr3 = value.low
            case .cr4: cr4 = value.low
            case .cr8: cr8 = value.low
            case .efer: efer = value.low
            case .apicBase: apicBase = value.low
            default: preconditionFailure("\(name) is no system register")
            }
        }
    }
}
