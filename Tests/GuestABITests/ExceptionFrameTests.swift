import GuestModel
import Testing

@testable import GuestABI

/// The registers that a guest's handler has saved, and what a hostile guest could put there.
struct ExceptionFrameTests {
    private static let frameStart: UInt64 = 0xFFFF_FFFF_FFFF_ED00
    private let memory: TestMemory
    /// The vCPU as it writes to the abort port: somewhere below the frame.
    private var handler: VCPUState

    /// A tiny guest whose exception stack holds the frame of a real one.
    init() throws {
        let image = try Golden.bytes("tiny-guest-elf.hex")
        let plan = try GuestPlan(image: image.span, options: GuestOptions(abi: .hyperlight))
        memory = TestMemory(plan.regions)
        handler = try plan.load(image: image.span, into: memory, seed: 0)
        handler.general = RegisterFile()
        handler.general.rsp = 0xFFFF_FFFF_FFFF_E900
        handler.system.cr2 = 0x1A_5000
        try put(Golden.bytes("exception-frame.hex"), at: Self.frameStart)
    }

    private func put(_ bytes: [UInt8], at address: UInt64) throws {
        let isWritten = writeVirtual(
            bytes.span, at: GuestVirtualAddress(address), system: handler.system, memory: memory)
        try #require(isWritten)
    }

    @Test func `the registers of a real guest are found`() throws {
        let frame = try #require(ExceptionFrame(in: handler, memory: memory))
        let general = frame.state.general
        #expect(general.rip == 0x1A_5000)
        #expect(general.rsp == 0xFFFF_FF00_0000_0000)
        #expect(general.rflags == 0x82)
        #expect(
            [general.rax, general.rbx, general.rcx, general.rdx] == [0x10_130C, 1, 0x2_3873, 0x6C])
        #expect(
            [general.rsi, general.rdi, general.rbp] == [0x2_87E3, 0xFFFF_FEFF_FFFF_FD90, 0])
        #expect(
            [general.r8, general.r9, general.r10, general.r11]
                == [0xFFFF_FEFF_FFFF_FDD8, 1, 0x73, 0x10])
        #expect(
            [general.r12, general.r13, general.r14, general.r15]
                == [0x1A_4000, 0xFFFF_FD00_0000_0000, 0x1000, 0x1234_5678_90AB_CDEF])
        let system = frame.state.system
        #expect([system.cs, system.ss, system.ds].map(\.selector) == [8, 0x10, 0x10])
        #expect(system.cr3 == handler.system.cr3)
        #expect(frame.extended?.bytes.prefix(2) == [0x7F, 0x03])
        #expect(frame.extended?.bytes[24..<26] == [0x80, 0x1F])
    }

    @Test(arguments: [
        CPUException(vector: 14, errorCode: 0x11, faultAddress: GuestVirtualAddress(0x1A_5000)),
        CPUException(vector: 13, errorCode: 0x11, faultAddress: nil),
        // A CPU gives no error code with these, whatever lies in its place.
        CPUException(vector: 6, errorCode: 0, faultAddress: nil),
        CPUException(vector: 0, errorCode: 0, faultAddress: nil),
    ])
    func `the exception has what its vector has`(expected: CPUException) throws {
        let frame = try #require(ExceptionFrame(in: handler, memory: memory))
        #expect(frame.exception(vector: expected.vector) == expected)
    }

    @Test(arguments: [
        UInt64(0), 0xFFFF_FF00_0000_0000, 0xFFFF_FFFF_FFFF_ED01, 0xFFFF_FFFF_FFFF_BD00,
    ])
    func `a guest that is not on its exception stack has no frame`(stackPointer: UInt64) {
        var handler = handler
        handler.general.rsp = stackPointer
        #expect(ExceptionFrame(in: handler, memory: memory) == nil)
    }

    struct Forgery: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let offset: UInt64
        let bytes: [UInt8]
    }

    @Test(arguments: [
        Forgery(
            testDescription: "RIP that is no address", offset: 0x2A8,
            bytes: [0, 0, 0, 0, 0, 0, 0, 0x80]),
        Forgery(testDescription: "RFLAGS without bit 1", offset: 0x2B8, bytes: [0x80]),
    ])
    func `what no CPU has pushed is no frame`(forgery: Forgery) throws {
        try put(forgery.bytes, at: Self.frameStart + forgery.offset)
        #expect(ExceptionFrame(in: handler, memory: memory) == nil)
    }

    @Test func `flags that are of the pushed copy alone do not show`() throws {
        try put([0x82, 0x01, 0x01], at: Self.frameStart + 0x2B8)
        let frame = try #require(ExceptionFrame(in: handler, memory: memory))
        #expect(frame.state.general.rflags == 0x82)
    }

    @Test func `a stack that is not mapped has no frame`() throws {
        handlerPage(isPresent: false)
        #expect(ExceptionFrame(in: handler, memory: memory) == nil)
    }

    private func handlerPage(isPresent: Bool) {
        var table = handler.system.cr3
        for shift: UInt64 in [39, 30, 21] {
            let slot = Self.frameStart >> shift & 511
            table = (memory.word(at: table + 8 * slot) ?? 0) & 0x000F_FFFF_FFFF_F000
        }
        let entry = GuestPhysicalAddress(table + 8 * (Self.frameStart >> 12 & 511))
        #expect(memory.writeUInt64(isPresent ? 3 : 0, at: entry))
    }
}

/// The names of a guest's memory.
struct AreaTests {
    @Test func `a Hyperlight guest's memory has its names, in order`() throws {
        let image = try Golden.bytes("tiny-guest-elf.hex")
        let plan = try GuestPlan(image: image.span, options: GuestOptions(abi: .hyperlight))
        #expect(
            plan.areas.map(\.name) == [
                "image", "PEB", "heap", "descriptor tables", "stack", "input buffer",
                "output buffer", "page tables", "scratch", "exception stack",
            ])
        for (area, next) in zip(plan.areas, plan.areas.dropFirst()) {
            #expect(area.last < next.start, "\(area.name)")
        }
        #expect(plan.areas.first?.start.rawValue == 0x4000)
        #expect(plan.areas.last?.last.rawValue == 0xFFFF_FFFF_FFFF_EFFF)
        // The page tables lie where CR3 leads.
        let memory = TestMemory(plan.regions)
        let state = try plan.load(image: image.span, into: memory, seed: 0)
        let tables = try #require(plan.areas.first { $0.name == "page tables" })
        let found = PageWalk.translate(tables.start, system: state.system, memory: memory)
        #expect(found?.physicalAddress.rawValue == state.system.cr3)
        let stack = try #require(plan.areas.first { $0.name == "exception stack" })
        #expect(stack.contains(GuestVirtualAddress(state.general.rsp)))
    }

    @Test func `a bare guest's memory is image, tables and stack`() throws {
        let image = ImageBuilder().bytes
        let plan = try GuestPlan(
            image: image.span, options: GuestOptions(abi: .bare, sizes: .hyperlightDefaults))
        #expect(plan.areas.map(\.name) == ["image", "page tables", "stack"])
        let last = try #require(plan.areas.last).last.rawValue
        #expect(last == (1 << 36) - 1)
        #expect(plan.areas[0].contains(plan.entry))
    }
}
