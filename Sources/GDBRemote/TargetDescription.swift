/// The registers that a client sees, as the one XML document it reads.
///
/// - Source: gdb manual, nodes "Target Description Format" and "i386 Features".
package enum TargetDescription {
    /// The document; the order and sizes are those of `layout`.
    package static func bytes(for layout: RegisterLayout) -> [UInt8] {
        layout.hasAVX ? withAVX : withoutAVX
    }

    private static let withoutAVX = Array(document(avx: "").utf8)
    private static let withAVX = Array(document(avx: avx).utf8)

    private static func document(avx: String) -> String {
        """
        <?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">\
        <architecture>i386:x86-64</architecture>\
        \(core)\(sse)\(segments)\(system)\(avx)</target>
        """
    }

    private static var core: String {
        let names = [
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ]
        var text = flags("i386_eflags", bytes: 4, eflags)
        for (number, name) in names.enumerated() {
            let type = name == "rbp" || name == "rsp" ? "data_ptr" : "int64"
            text += register(name, bits: 64, type: type, number)
        }
        text += register("rip", bits: 64, type: "code_ptr", RegisterLayout.rip)
        text += register("eflags", bits: 32, type: "i386_eflags", RegisterLayout.eflags)
        for (index, name) in ["cs", "ss", "ds", "es", "fs", "gs"].enumerated() {
            text += register(name, bits: 32, type: "int32", 18 + index)
        }
        for index in 0..<8 {
            text += register("st\(index)", bits: 80, type: "i387_ext", 24 + index)
        }
        let control = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"]
        for (index, name) in control.enumerated() {
            text += register(name, bits: 32, type: "int", 32 + index, group: "float")
        }
        return feature("org.gnu.gdb.i386.core", text)
    }

    private static var sse: String {
        let vectors = [
            ("v4_float", "v4f", "ieee_single", 4), ("v2_double", "v2d", "ieee_double", 2),
            ("v16_int8", "v16i8", "int8", 16), ("v8_int16", "v8i16", "int16", 8),
            ("v4_int32", "v4i32", "int32", 4), ("v2_int64", "v2i64", "int64", 2),
        ]
        var text = ""
        for (_, id, type, count) in vectors {
            text += "<vector id=\"\(id)\" type=\"\(type)\" count=\"\(count)\"/>"
        }
        text += "<union id=\"vec128\">"
        for (name, id, _, _) in vectors { text += "<field name=\"\(name)\" type=\"\(id)\"/>" }
        text += "<field name=\"uint128\" type=\"uint128\"/></union>"
        text += flags("i386_mxcsr", bytes: 4, mxcsr)
        for index in 0..<16 {
            text += register("xmm\(index)", bits: 128, type: "vec128", 40 + index)
        }
        text += register(
            "mxcsr", bits: 32, type: "i386_mxcsr", RegisterLayout.mxcsr, group: "vector")
        return feature("org.gnu.gdb.i386.sse", text)
    }

    private static var segments: String {
        feature(
            "org.gnu.gdb.i386.segments",
            register("fs_base", bits: 64, type: "int64", RegisterLayout.fsBase)
                + register("gs_base", bits: 64, type: "int64", RegisterLayout.gsBase))
    }

    private static var system: String {
        let registers = [
            ("k_gs_base", "int64"), ("cr0", "x86_cr0"), ("cr2", "int64"), ("cr3", "int64"),
            ("cr4", "x86_cr4"), ("cr8", "int64"), ("efer", "x86_efer"),
        ]
        var text = flags("x86_cr0", bytes: 8, cr0)
        text += flags("x86_cr4", bytes: 8, cr4)
        text += flags("x86_efer", bytes: 8, efer)
        for (index, (name, type)) in registers.enumerated() {
            let number = RegisterLayout.kernelGSBase + index
            text += register(name, bits: 64, type: type, number, group: "system")
        }
        return feature("org.hyperlight.x86.system", text)
    }

    /// Clients build the YMM registers from these and the XMM registers.
    private static var avx: String {
        var text = ""
        for (index, number) in RegisterLayout.upperYMM.enumerated() {
            text += register("ymm\(index)h", bits: 128, type: "uint128", number)
        }
        return feature("org.gnu.gdb.i386.avx", text)
    }

    private static func feature(_ name: String, _ content: String) -> String {
        "<feature name=\"\(name)\">\(content)</feature>"
    }

    private static func register(
        _ name: String, bits: Int, type: String, _ number: Int, group: String? = nil
    ) -> String {
        let group = group.map { " group=\"\($0)\"" } ?? ""
        return "<reg name=\"\(name)\" bitsize=\"\(bits)\" type=\"\(type)\""
            + " regnum=\"\(number)\"\(group)/>"
    }

    private static func flags(_ id: String, bytes: Int, _ fields: [Flag]) -> String {
        let content = fields.map { flag in
            "<field name=\"\(flag.name)\" start=\"\(flag.start)\" end=\"\(flag.end)\"/>"
        }
        return "<flags id=\"\(id)\" size=\"\(bytes)\">\(content.joined())</flags>"
    }

    private struct Flag {
        let name: String
        let start: Int
        let end: Int

        init(_ name: String, _ bit: Int, to end: Int? = nil) {
            self.name = name
            start = bit
            self.end = end ?? bit
        }
    }

    /// - Source: Intel SDM volume 1, "EFLAGS Register".
    private static var eflags: [Flag] {
        [
            Flag("CF", 0), Flag("", 1), Flag("PF", 2), Flag("AF", 4), Flag("ZF", 6),
            Flag("SF", 7), Flag("TF", 8), Flag("IF", 9), Flag("DF", 10), Flag("OF", 11),
            Flag("IOPL", 12, to: 13), Flag("NT", 14), Flag("RF", 16), Flag("VM", 17),
            Flag("AC", 18), Flag("VIF", 19), Flag("VIP", 20), Flag("ID", 21),
        ]
    }

    /// - Source: Intel SDM volume 1, "MXCSR Control and Status Register".
    private static var mxcsr: [Flag] {
        [
            Flag("IE", 0), Flag("DE", 1), Flag("ZE", 2), Flag("OE", 3), Flag("UE", 4),
            Flag("PE", 5), Flag("DAZ", 6), Flag("IM", 7), Flag("DM", 8), Flag("ZM", 9),
            Flag("OM", 10), Flag("UM", 11), Flag("PM", 12), Flag("FZ", 15),
        ]
    }

    /// - Source: Intel SDM volume 3, "Control Registers".
    private static var cr0: [Flag] {
        [
            Flag("PE", 0), Flag("MP", 1), Flag("EM", 2), Flag("TS", 3), Flag("ET", 4),
            Flag("NE", 5), Flag("WP", 16), Flag("AM", 18), Flag("NW", 29), Flag("CD", 30),
            Flag("PG", 31),
        ]
    }

    private static var cr4: [Flag] {
        [
            Flag("VME", 0), Flag("PVI", 1), Flag("TSD", 2), Flag("DE", 3), Flag("PSE", 4),
            Flag("PAE", 5), Flag("MCE", 6), Flag("PGE", 7), Flag("PCE", 8), Flag("OSFXSR", 9),
            Flag("OSXMMEXCPT", 10), Flag("UMIP", 11), Flag("LA57", 12), Flag("VMXE", 13),
            Flag("SMXE", 14), Flag("FSGSBASE", 16), Flag("PCIDE", 17), Flag("OSXSAVE", 18),
            Flag("SMEP", 20), Flag("SMAP", 21), Flag("PKE", 22),
        ]
    }

    /// - Source: Intel SDM volume 3 and AMD manual volume 2, "Extended Feature Enable Register".
    private static var efer: [Flag] {
        [
            Flag("SCE", 0), Flag("LME", 8), Flag("LMA", 10), Flag("NXE", 11), Flag("SVME", 12),
            Flag("LMSLE", 13), Flag("FFXSR", 14), Flag("TCE", 15),
        ]
    }
}
