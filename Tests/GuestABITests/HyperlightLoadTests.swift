import GuestModel
import Testing

@testable import GuestABI

/// The Hyperlight loader against golden data of a proven host.
struct HyperlightLoadTests {
    private let options = GuestOptions(abi: .hyperlight)

    private func loadTiny() throws -> (GuestPlan, TestMemory, VCPUState) {
        let image = try Golden.bytes("tiny-guest-elf.hex")
        let plan = try GuestPlan(image: image.span, options: options)
        let memory = TestMemory(plan.regions)
        let state = try plan.load(image: image.span, into: memory, seed: 0x1234_5678)
        return (plan, memory, state)
    }

    @Test(arguments: [
        ("tiny default sizes", GuestMemorySizes.hyperlightDefaults, UInt64(0)),
        ("tiny with 5000 bytes of init data", .hyperlightDefaults, 5000),
        (
            "real javascript guest, heap 8 MiB, scratch 32 MiB, buffers 64 KiB",
            GuestMemorySizes(
                heap: 0x80_0000, scratch: 0x200_0000, input: 0x10000, output: 0x10000), 0
        ),
        (
            "real wasm guest, same sizes",
            GuestMemorySizes(
                heap: 0x80_0000, scratch: 0x200_0000, input: 0x10000, output: 0x10000), 0
        ),
    ])
    func `the layout has the golden offsets`(
        name: String, sizes: GuestMemorySizes, initDataBytes: UInt64
    ) throws {
        let golden = try Golden.layout(name)
        let codeBytes = try #require(golden["code_size"])
        let layout = try HyperlightLayout(
            codeBytes: codeBytes, sizes: sizes, initDataBytes: initDataBytes)
        let tables = try layout.pageTables()
        #expect(GuestLayout.imageBase == golden["base"])
        #expect(layout.pebOffset == golden["peb_off"])
        #expect(layout.heapOffset == golden["heap_off"])
        #expect(layout.initDataOffset == golden["init_off"])
        #expect(layout.imageBytes == golden["size"])
        #expect(layout.scratchStart == golden["scratch_gpa"])
        #expect(layout.scratchVirtualStart == golden["scratch_gva"])
        #expect(layout.pebAddress == golden["peb_gpa"])
        #expect(layout.tablesOffset == golden["pt_off"])
        #expect(tables.start.rawValue == golden["pt_gpa"])
        #expect(tables.end.rawValue == golden["first_free"])
        #expect(tables.byteCount == golden["pt_size"])
        #expect(HyperlightLayout.exceptionStackTop == golden["exn_stack"])
    }

    @Test(arguments: [
        (UInt64(1), UInt64(0), UInt64(0x40000)), (0x1F_B000, 0, 0x41000), (0x1F_C000, 0, 0x42000),
        (0x20_0000, 0x3FDF_F000, 0x40_0000), (0x1000, 0x4000_0000, 0x100_0000),
    ])
    func `the tables take what was foreseen`(
        codeBytes: UInt64, heap: UInt64, scratch: UInt64
    ) throws {
        let sizes = GuestMemorySizes(heap: heap, scratch: scratch, input: 0x2000, output: 0x2000)
        let layout = try HyperlightLayout(codeBytes: codeBytes, sizes: sizes, initDataBytes: 1)
        #expect(try layout.pageTables().byteCount == layout.tableBytes)
    }

    @Test func `a code segment far too large for scratch is refused with what it would take`() {
        var image = ImageBuilder()
        image.loads[0].memoryBytes = 0x3_FFF0_0000
        var options = options
        options.acceptsUnversionedGuest = true
        options.sizes.heap = 0
        let error = #expect(throws: GuestRejection.self) {
            try GuestPlan(image: image.bytes.span, options: options)
        }
        #expect(
            error?.description
                == "scratch memory: 0x48000 bytes, the minimum is 0x2029000")
    }

    @Test func `the tiny guest's PEB, scratch words and buffers are byte-equal`() throws {
        let (_, memory, _) = try loadTiny()
        #expect(memory.bytes(at: 0x6000, count: 64) == (try Golden.bytes("tiny-peb.hex")))
        let top = try Golden.bytes("tiny-scratch-top.hex")
        #expect(memory.bytes(at: (1 << 36) - 0x30, count: 0x30) == top)
        let buffers = try Golden.bytes("tiny-scratch-first-16-of-input-and-output.hex")
        #expect(memory.bytes(at: 0xF_FFFB_8000, count: 16) == Array(buffers[..<16]))
        #expect(memory.bytes(at: 0xF_FFFB_C000, count: 16) == Array(buffers[16...]))
    }

    @Test func `the tiny guest's relocation points to its load address`() throws {
        let (_, memory, _) = try loadTiny()
        #expect(memory.word(at: 0x4300) == 0x4100)
        let code: [UInt8] = [0x66, 0xBA, 0x6C, 0x00, 0xEF, 0xFA, 0xF4]
        #expect(memory.bytes(at: 0x4100, count: 7) == code)
    }

    @Test func `the tiny guest starts with the registers of the ABI`() throws {
        let (plan, _, state) = try loadTiny()
        var expected = RegisterFile()
        expected.rip = 0x4100
        expected.rsp = 0xFFFF_FFFF_FFFF_EFC8
        expected.rdi = 0x6000
        expected.rsi = 0x1234_5678
        expected.rdx = 4096
        expected.rcx = 2
        #expect(state.general == expected)
        #expect(state.system == .longMode(pageTable: GuestPhysicalAddress(0xF_FFFC_0000)))
        #expect(plan.entry == GuestVirtualAddress(0x4100))
        #expect(plan.loadBias == 0x4000)
        #expect(plan.regions.map(\.isGuestWritable) == [false, true])
        #expect(plan.io?.output.start == GuestPhysicalAddress(0xF_FFFB_C000))
    }

    @Test func `the tiny guest's page tables hold the golden entries`() throws {
        let (_, memory, state) = try loadTiny()
        var seen = 0
        for line in try Golden.text("tiny-page-walks.txt").split(separator: "\n") {
            let numbers = line.split(separator: " ").filter { $0.hasPrefix("0x") }
                .compactMap { UInt64($0.dropFirst(2), radix: 16) }
            try #require(numbers.count == 5)
            var table = state.system.cr3
            for (level, golden) in numbers.dropFirst().enumerated() {
                let slot = (numbers[0] >> (39 - 9 * UInt64(level))) & 511
                let entry = try #require(memory.word(at: table + 8 * slot))
                #expect(entry == golden, "\(line)")
                table = entry & 0x000F_FFFF_FFFF_F000
            }
            seen += 1
        }
        #expect(seen == 9)
    }

    private static let runtime = ".deps/guests/wasm-runtime"

    @Test(.enabled(if: Golden.projectFile(runtime) != nil, "fetched by tools/setup"))
    func `the WebAssembly runtime gets the golden layout`() throws {
        let image = try #require(Golden.projectFile(Self.runtime))
        var options = options
        options.sizes = GuestMemorySizes(
            heap: 0x80_0000, scratch: 0x200_0000, input: 0x10000, output: 0x10000)
        let plan = try GuestPlan(image: image.span, options: options)
        let golden = try Golden.layout("real wasm guest, same sizes")
        #expect(plan.entry.rawValue == golden["entry"])
        #expect(UInt64(plan.regions[0].byteCount) == golden["size"])
        let state = try plan.load(image: image.span, into: TestMemory(plan.regions), seed: 1)
        #expect(state.system.cr3 == golden["pt_gpa"])
    }

    @Test(arguments: [
        (
            GuestMemorySizes(heap: 0, scratch: 0x48000, input: 0x1FFF, output: 0x2000),
            "input buffer: 0x1fff bytes, the minimum is 0x2000"
        ),
        (
            GuestMemorySizes(heap: 0, scratch: 0x48000, input: 0x2000, output: 8),
            "output buffer: 0x8 bytes, the minimum is 0x2000"
        ),
        (
            GuestMemorySizes(heap: 0, scratch: 0x48001, input: 0x2000, output: 0x2000),
            "scratch memory: 0x48001 bytes are not whole pages of 0x1000"
        ),
        (
            GuestMemorySizes(heap: 0, scratch: 0x10000, input: 0x2000, output: 0x2000),
            "scratch memory: 0x10000 bytes, the minimum is 0x17000"
        ),
        (
            GuestMemorySizes(heap: 0, scratch: 0, input: 0x2000, output: 0x2000),
            "scratch memory: 0x0 bytes, the minimum is 0x14000"
        ),
        (
            GuestMemorySizes(heap: .max, scratch: 0x48000, input: 0x2000, output: 0x2000),
            "image: 0xffffffffffffffff bytes, the limit is 0x3ffffc000"
        ),
        (
            GuestMemorySizes(heap: 0x3_FFFF_C000, scratch: 0x48000, input: 0x2000, output: 0x2000),
            "image: 0x3fffff000 bytes, the limit is 0x3ffffc000"
        ),
        (
            GuestMemorySizes(heap: 0, scratch: .max, input: 0x2000, output: 0x2000),
            "scratch memory: 0xffffffffffffffff bytes, the limit is 0x3ffffc000"
        ),
        (
            GuestMemorySizes(heap: 0, scratch: 0x48000, input: .max, output: 0x2000),
            "input buffer: 0xffffffffffffffff bytes, the limit is 0x3ffffc000"
        ),
    ])
    func `sizes out of range are refused in words`(sizes: GuestMemorySizes, text: String) throws {
        let image = try Golden.bytes("tiny-guest-elf.hex")
        let error = #expect(throws: GuestRejection.self) {
            try GuestPlan(image: image.span, options: GuestOptions(abi: .hyperlight, sizes: sizes))
        }
        #expect(error?.description == text)
    }
}
