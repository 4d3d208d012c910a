import GuestABI
import GuestModel
import Testing

/// The loader for freestanding guests.
struct BareLoadTests {
    private let options = GuestOptions(abi: .bare)

    private func load(_ builder: ImageBuilder) throws -> (GuestPlan, TestMemory, VCPUState) {
        let image = builder.bytes
        let plan = try GuestPlan(image: image.span, options: options)
        let memory = TestMemory(plan.regions)
        return (plan, memory, try plan.load(image: image.span, into: memory, seed: 7))
    }

    private var fixed: ImageBuilder {
        var builder = ImageBuilder()
        builder.type = 2
        builder.entry = 0x10_2040
        builder.loads = [
            .init(flags: 4, address: 0x10_0123, fileBytes: 0x40, memoryBytes: 0x40),
            .init(flags: 5, address: 0x10_2000, fileBytes: 0x800, memoryBytes: 0x1234),
        ]
        return builder
    }

    @Test func `an executable is loaded at its own addresses`() throws {
        let (plan, memory, state) = try load(fixed)
        #expect(plan.loadBias == 0)
        #expect(plan.entry == GuestVirtualAddress(0x10_2040))
        #expect(plan.firstSegmentAddress == 0x10_0123)
        #expect(plan.regions[0].start == GuestPhysicalAddress(0x10_0000))
        #expect(plan.regions[0].byteCount == 0x4000)
        #expect(memory.bytes(at: 0x10_2000, count: 4) == [0x7F, 0x45, 0x4C, 0x46])
        #expect(memory.bytes(at: 0x10_0123, count: 4) == [0x7F, 0x45, 0x4C, 0x46])
        #expect(plan.io == nil)
        #expect(state.general.rip == 0x10_2040)
        #expect(state.general.rsi == 0)
    }

    @Test func `image, gap, stack and tables are identity mapped`() throws {
        let (plan, memory, state) = try load(fixed)
        for address: UInt64 in [0x10_0000, 0x10_1FFF, 0x10_3FFF] {
            let found = try #require(
                PageWalk.translate(
                    GuestVirtualAddress(address), system: state.system, memory: memory))
            #expect(found.physicalAddress.rawValue == address)
            #expect(found.isWritable && found.isExecutable)
        }
        let stack = try #require(
            PageWalk.translate(
                GuestVirtualAddress(state.general.rsp), system: state.system, memory: memory))
        #expect(stack.physicalAddress.rawValue == state.general.rsp)
        #expect(stack.isWritable && !stack.isExecutable)
        #expect(state.general.rsp == (1 << 36) - 8)
        #expect(state.system.cr3 == plan.regions[1].start.rawValue)
        for address: UInt64 in [0xF_F000, 0x10_4000, 1 << 36] {
            #expect(
                PageWalk.translate(
                    GuestVirtualAddress(address), system: state.system, memory: memory) == nil)
        }
    }

    @Test func `a position-independent guest moves to the image base`() throws {
        let (plan, memory, state) = try load(ImageBuilder())
        #expect(plan.loadBias == 0x4000)
        #expect(state.general.rip == 0x4100)
        #expect(memory.word(at: 0x4000) == 0x0001_0102_464C_457F)
    }

    /// The same image with its relocations named by PT_DYNAMIC, three of them, one of type NONE.
    private var relocated: [UInt8] {
        var builder = ImageBuilder()
        builder.loads.append(.init(type: 2, offset: 0x800, fileBytes: 0x40))
        var image = builder.bytes
        for (index, word) in [7, 0x900, 8, 72, 9, 24, 0, 0].enumerated() {
            image = image.patched(UInt64(word), at: 0x800 + 8 * index)
        }
        for (index, word) in [0x200, 8, 0x123, 0x208, 0, 0x123, 0x210, 8, 0x456].enumerated() {
            image = image.patched(UInt64(word), at: 0x900 + 8 * index)
        }
        return image
    }

    @Test func `relocations of the dynamic segment are applied`() throws {
        let image = relocated
        let plan = try GuestPlan(image: image.span, options: options)
        let memory = TestMemory(plan.regions)
        _ = try plan.load(image: image.span, into: memory, seed: 0)
        #expect(memory.word(at: 0x4200) == 0x4123)
        #expect(memory.word(at: 0x4208) == 0)
        #expect(memory.word(at: 0x4210) == 0x4456)
    }

    @Test(arguments: [
        (0x800, UInt64(17), GuestRejection.relocationForm("REL")),
        (0x800, 36, .relocationForm("RELR")),
        (0x828, 25, .wrongEntrySize(.relocations, found: 25, expected: 24)),
        (0x818, 0x1_0000, .beyondFile(.relocations, end: 0x108F0, fileBytes: 0x1000)),
        (0x818, .max, .tooManyEntries(.relocations, count: .max / 24, limit: 1 << 20)),
        (0x808, 0x1000, .relocationOutside(index: 0, place: 0x1000)),
        (0x930, 0xFF9, .relocationOutside(index: 2, place: 0xFF9)),
        (0x920, 5, .relocationType(index: 1, type: 5)),
    ])
    func `broken dynamic relocations are refused`(
        offset: Int, value: UInt64, expected: GuestRejection
    ) {
        let image = relocated.patched(value, at: offset)
        #expect(throws: expected) { _ = try GuestPlan(image: image.span, options: options) }
    }

    private static let shipped = [
        ("hello", UInt64(0)), ("hello-swift", 0), ("counter", 0), ("counter-pie", 0x4000),
    ]

    @Test(
        .enabled(
            if: Golden.projectFile(".build/guests/counter-pie") != nil, "built by tools/guests"),
        arguments: shipped)
    func `shipped guests load`(name: String, bias: UInt64) throws {
        let image = try #require(Golden.projectFile(".build/guests/\(name)"))
        let plan = try GuestPlan(image: image.span, options: options)
        _ = try plan.load(image: image.span, into: TestMemory(plan.regions), seed: 0)
        #expect(plan.loadBias == bias)
    }
}
