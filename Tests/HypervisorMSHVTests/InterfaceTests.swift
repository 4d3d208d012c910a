import Testing

@testable import HypervisorMSHV

/// Every number of the interface that the driver uses, against numbers written down from the
/// interface's description and not computed from anything in the driver.
struct InterfaceTests {
    @Test func `request codes are those of the kernel`() {
        let codes = MSHVRequest.allCases.map { ($0.name, $0.rawValue) }
        #expect(
            Dictionary(uniqueKeysWithValues: codes) == [
                "MSHV_CREATE_PARTITION": 0x4010_B800, "MSHV_INITIALIZE_PARTITION": 0x0000_B800,
                "MSHV_CREATE_VP": 0x4004_B801, "MSHV_SET_GUEST_MEMORY": 0x4020_B802,
                "MSHV_ROOT_HVCALL": 0xC020_B807, "MSHV_RUN_VP": 0x8100_B800,
                "MSHV_GET_VP_STATE": 0xC010_B801, "MSHV_SET_VP_STATE": 0xC010_B802,
            ])
    }

    @Test func `hypercalls have the hypervisor's codes`() {
        let codes = HypercallCode.allCases.map { ("\($0)", $0.rawValue) }
        #expect(
            Dictionary(uniqueKeysWithValues: codes) == [
                "setPartitionProperty": 0x45, "installIntercept": 0x4D, "getRegisters": 0x50,
                "setRegisters": 0x51,
            ])
    }

    @Test func `the property is the one that hides Hyper-V`() {
        #expect(PartitionProperty.allCases.map(\.rawValue) == [0x0001_0001])
    }

    @Test func `intercepts have the hypervisor's numbers`() {
        #expect(Intercept.exception == 3)
        #expect(Intercept.on == 4)
        #expect(Intercept.off == 0)
        #expect(DebugInterception.debugVector == 1)
        #expect(DebugInterception.breakpointVector == 3)
        #expect(HypercallStatus.success.rawValue == 0)
    }

    @Test func `messages have the hypervisor's types`() {
        let kinds = MessageKind.allCases.map { ("\($0)", $0.rawValue) }
        #expect(
            Dictionary(uniqueKeysWithValues: kinds) == [
                "unmappedMemory": 0x8000_0000, "memoryAccessDenied": 0x8000_0001,
                "invalidRegister": 0x8000_0020, "unrecoverableException": 0x8000_0021,
                "unsupportedFeature": 0x8000_0022, "port": 0x8001_0000, "exception": 0x8001_0003,
                "halt": 0x8001_0007,
            ])
    }

    @Test func `registers have the hypervisor's numbers`() {
        let numbers = MSHVRegister.allCases.map { ("\($0)", $0.rawValue) }
        #expect(Dictionary(uniqueKeysWithValues: numbers) == Self.registers)
    }

    private static let registers: [String: UInt32] = [
        "pendingInterruption": 0x1_0002, "interruptState": 0x1_0003, "pendingEvent": 0x1_0004,
        "rax": 0x2_0000, "rcx": 0x2_0001, "rdx": 0x2_0002, "rbx": 0x2_0003, "rsp": 0x2_0004,
        "rbp": 0x2_0005, "rsi": 0x2_0006, "rdi": 0x2_0007, "r8": 0x2_0008, "r9": 0x2_0009,
        "r10": 0x2_000A, "r11": 0x2_000B, "r12": 0x2_000C, "r13": 0x2_000D, "r14": 0x2_000E,
        "r15": 0x2_000F, "rip": 0x2_0010, "rflags": 0x2_0011,
        "cr0": 0x4_0000, "cr2": 0x4_0001, "cr3": 0x4_0002, "cr4": 0x4_0003, "cr8": 0x4_0004,
        "xcr0": 0x4_0005,
        "intermediateCR0": 0x4_1000, "intermediateCR3": 0x4_1002, "intermediateCR4": 0x4_1003,
        "dr0": 0x5_0000, "dr1": 0x5_0001, "dr2": 0x5_0002, "dr3": 0x5_0003, "dr6": 0x5_0004,
        "dr7": 0x5_0005,
        "es": 0x6_0000, "cs": 0x6_0001, "ss": 0x6_0002, "ds": 0x6_0003, "fs": 0x6_0004,
        "gs": 0x6_0005, "ldtr": 0x6_0006, "tr": 0x6_0007,
        "idtr": 0x7_0000, "gdtr": 0x7_0001,
        "efer": 0x8_0001, "kernelGSBase": 0x8_0002, "apicBase": 0x8_0003, "pat": 0x8_0004,
        "sysenterCS": 0x8_0005, "sysenterEIP": 0x8_0006, "sysenterESP": 0x8_0007,
        "star": 0x8_0008, "lstar": 0x8_0009, "cstar": 0x8_000A, "sfmask": 0x8_000B,
        "mtrrDefault": 0x8_000E, "tscAux": 0x8_007B, "debugControl": 0x8_007D,
        "speculationControl": 0x8_0084, "tsxControl": 0x8_0088,
        "xss": 0x8_008B, "userCET": 0x8_008C, "supervisorCET": 0x8_008D, "ssp": 0x8_008E,
        "pl0SSP": 0x8_008F, "pl1SSP": 0x8_0090, "pl2SSP": 0x8_0091, "pl3SSP": 0x8_0092,
        "sspTable": 0x8_0093,
        "umwaitControl": 0x8_0098, "xfd": 0x8_0099, "xfdError": 0x8_009A,
    ]

    @Test func `general registers are read and written in the hardware's order`() {
        #expect(MSHVRegister.general.map(\.rawValue) == (0x2_0000...0x2_000F).map(\.self))
    }

    private typealias Layout = MSHVLayout

    @Test(arguments: [
        ("create partition: size", Layout.CreatePartition.byteCount, 64),
        ("create processor: size", Layout.CreateVP.byteCount, 4),

        ("memory: size", Layout.GuestMemory.byteCount, 32),
        ("memory: bytes", Layout.GuestMemory.size, 0),
        ("memory: first page", Layout.GuestMemory.firstPage, 8),
        ("memory: host address", Layout.GuestMemory.host, 16),
        ("memory: flags", Layout.GuestMemory.flags, 24),
        ("memory: writable", Int(Layout.GuestMemory.writable), 1),
        ("memory: executable", Int(Layout.GuestMemory.executable), 2),

        ("hypercall: size", Layout.RootHypercall.byteCount, 32),
        ("hypercall: code", Layout.RootHypercall.code, 0),
        ("hypercall: repetitions", Layout.RootHypercall.repetitions, 2),
        ("hypercall: input bytes", Layout.RootHypercall.inputByteCount, 4),
        ("hypercall: output bytes", Layout.RootHypercall.outputByteCount, 6),
        ("hypercall: status", Layout.RootHypercall.status, 8),
        ("hypercall: input", Layout.RootHypercall.input, 16),
        ("hypercall: output", Layout.RootHypercall.output, 24),

        ("registers: head", Layout.HypercallInput.registersHead, 16),
        ("registers: name", Layout.HypercallInput.registerName, 4),
        ("registers: entry", Layout.HypercallInput.registerEntry, 32),
        ("registers: value in an entry", Layout.HypercallInput.registerEntryValue, 16),
        ("registers: value", Layout.HypercallInput.registerValue, 16),
        ("property: size", Layout.HypercallInput.propertyByteCount, 24),
        ("property: number", Layout.HypercallInput.property, 8),
        ("property: value", Layout.HypercallInput.propertyValue, 16),
        ("intercept: size", Layout.HypercallInput.interceptByteCount, 24),
        ("intercept: access", Layout.HypercallInput.interceptAccess, 8),
        ("intercept: type", Layout.HypercallInput.interceptKind, 12),
        ("intercept: parameter", Layout.HypercallInput.interceptParameter, 16),

        ("state: size", Layout.VPState.byteCount, 16),
        ("state: type", Layout.VPState.kind, 0),
        ("state: bytes", Layout.VPState.bufferByteCount, 4),
        ("state: buffer", Layout.VPState.buffer, 8),
        ("state: XSAVE", Int(Layout.VPState.xsave), 1),

        ("page: size", Layout.RegisterPage.byteCount, 4096),
        ("page: version", Layout.RegisterPage.version, 0),
        ("page: valid", Layout.RegisterPage.isValid, 2),
        ("page: dirty", Layout.RegisterPage.dirty, 4),
        ("page: general", Layout.RegisterPage.general, 8),
        ("page: RIP", Layout.RegisterPage.rip, 136),
        ("page: RFLAGS", Layout.RegisterPage.rflags, 144),
        ("page: segments", Layout.RegisterPage.segments, 256),
        ("page: CR0", Layout.RegisterPage.cr0, 352),
        ("page: CR3", Layout.RegisterPage.cr3, 360),
        ("page: CR4", Layout.RegisterPage.cr4, 368),
        ("page: CR8", Layout.RegisterPage.cr8, 376),
        ("page: EFER", Layout.RegisterPage.efer, 384),
        ("page: version known", Int(Layout.RegisterPage.versionKnown), 1),
        ("page: general are dirty", Int(GeneralRegisterSet.general.rawValue), 1),
        ("page: RIP is dirty", Int(GeneralRegisterSet.rip.rawValue), 2),
        ("page: RFLAGS are dirty", Int(GeneralRegisterSet.rflags.rawValue), 16),

        ("message: size", Layout.Message.byteCount, 256),
        ("message: type", Layout.Message.kind, 0),
        ("message: payload bytes", Layout.Message.payloadByteCount, 4),
        ("message: payload", Layout.Message.payload, 16),
        ("message: instruction length", Layout.Message.instructionLength, 16 + 4),
        ("message: access", Layout.Message.access, 16 + 5),
        ("message: RIP", Layout.Message.rip, 16 + 24),
        ("message: guest physical address", Layout.Message.guestPhysical, 16 + 56),
        ("message: port", Layout.Message.port, 16 + 40),
        ("message: port info", Layout.Message.portInfo, 16 + 42),
        ("message: RAX of a port", Layout.Message.portRAX, 16 + 48),
        ("message: vector", Layout.Message.vector, 16 + 40),
        ("message: exception parameter", Layout.Message.exceptionParameter, 16 + 48),
        ("message: feature", Layout.Message.feature, 16 + 4),
        ("message: feature parameter", Layout.Message.featureParameter, 16 + 8),
    ])
    func `structures are laid out as the kernel's`(_ name: String, _ value: Int, _ expected: Int) {
        #expect(value == expected)
    }
}
