import GuestModel

/// A register by its number.
///
/// - Source: Linux `include/hyperv/hvhdk_mini.h` and `hvgdk_mini.h`, `enum hv_register_name`.
enum MSHVRegister: UInt32, CaseIterable {
    case pendingInterruption = 0x1_0002
    case interruptState = 0x1_0003
    case pendingEvent = 0x1_0004

    case rax = 0x2_0000
    case rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags

    case cr0 = 0x4_0000
    case cr2, cr3, cr4, cr8, xcr0

    // What the guest has is set by these names: under a nested hypervisor they pass unmodified.
    case intermediateCR0 = 0x4_1000
    case intermediateCR3 = 0x4_1002
    case intermediateCR4 = 0x4_1003

    case dr0 = 0x5_0000
    case dr1, dr2, dr3, dr6, dr7

    case es = 0x6_0000
    case cs, ss, ds, fs, gs, ldtr, tr

    case idtr = 0x7_0000
    case gdtr

    case efer = 0x8_0001
    case kernelGSBase, apicBase, pat
    case sysenterCS, sysenterEIP, sysenterESP
    case star = 0x8_0008
    case lstar, cstar, sfmask
    case mtrrDefault = 0x8_000E
    case tscAux = 0x8_007B
    case debugControl = 0x8_007D
    case speculationControl = 0x8_0084
    case tsxControl = 0x8_0088
    case xss = 0x8_008B
    case userCET, supervisorCET, ssp, pl0SSP, pl1SSP, pl2SSP, pl3SSP, sspTable
    case umwaitControl = 0x8_0098
    case xfd, xfdError

    /// The sixteen general registers in the order of their numbers, which is the hardware's.
    static let general: [MSHVRegister] = [
        .rax, .rcx, .rdx, .rbx, .rsp, .rbp, .rsi, .rdi, .r8, .r9, .r10, .r11, .r12, .r13, .r14,
        .r15,
    ]

    /// Model-specific registers that a guest can change and that a reset takes back.
    ///
    /// No filter keeps a guest from them. A CPU or a hypervisor may lack some.
    static let modelSpecific: [MSHVRegister] = [
        .kernelGSBase, .pat, .sysenterCS, .sysenterEIP, .sysenterESP, .star, .lstar, .cstar,
        .sfmask,
        .mtrrDefault, .tscAux, .debugControl, .speculationControl, .tsxControl, .xss, .userCET,
        .supervisorCET, .ssp, .pl0SSP, .pl1SSP, .pl2SSP, .pl3SSP, .sspTable, .umwaitControl, .xfd,
        .xfdError,
    ]
}

/// Sixteen bytes, which is what every register is passed as.
struct RegisterValue: Hashable {
    var low: UInt64
    var high: UInt64 = 0

    init(_ low: UInt64, high: UInt64 = 0) {
        self.low = low
        self.high = high
    }

    /// - Source: Linux `include/hyperv/hvhdk_mini.h`, `struct hv_x64_segment_register`.
    init(_ segment: Segment) {
        low = segment.base
        high =
            UInt64(segment.limit) | UInt64(segment.selector) << 32
            | UInt64(segment.attributes) << 48
    }

    /// - Source: Linux `include/hyperv/hvhdk_mini.h`, `struct hv_x64_table_register`.
    init(_ table: DescriptorTable) {
        low = UInt64(table.limit) << 48
        high = table.base
    }

    var segment: Segment {
        Segment(
            base: low, limit: UInt32(truncatingIfNeeded: high),
            selector: UInt16(truncatingIfNeeded: high >> 32), attributes: UInt16(high >> 48))
    }

    var table: DescriptorTable { DescriptorTable(base: high, limit: UInt16(low >> 48)) }

    /// An exception that the guest is to get at its next instruction.
    ///
    /// - Source: Linux `include/hyperv/hvhdk_mini.h`, `union hv_x64_pending_exception_event`.
    static func pendingException(vector: UInt8, parameter: UInt64 = 0) -> RegisterValue {
        RegisterValue(1 | UInt64(vector) << 16, high: parameter)
    }
}

extension RegisterFile {
    /// The sixteen general registers in the order of `MSHVRegister.general`.
    var hardwareOrder: InlineArray<16, UInt64> {
        [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15]
    }

    /// All but RIP and RFLAGS.
    init(hardwareOrder values: InlineArray<16, UInt64>) {
        self.init()
        (rax, rcx, rdx, rbx) = (values[0], values[1], values[2], values[3])
        (rsp, rbp, rsi, rdi) = (values[4], values[5], values[6], values[7])
        (r8, r9, r10, r11) = (values[8], values[9], values[10], values[11])
        (r12, r13, r14, r15) = (values[12], values[13], values[14], values[15])
    }
}
