import GuestModel
import Testing

/// Flags that a CPU pushes during a step, on stacks that are mapped one to one.
struct PushedFlagsTests {
    private static let instruction: UInt64 = 0x2000
    private static let stack: UInt64 = 0x9000
    private static let interruptStack: UInt64 = 0xA000
    private static let handler: UInt64 = 0x3000

    private let memory = FlatMemory(start: 0, byteCount: 0x10000)
    private let before: VCPUState

    init() {
        // Four levels, each with one entry, then 16 pages.
        for table: UInt64 in [0x4000, 0x5000, 0x6000] {
            Self.put(table + 0x1003, at: table, memory)
        }
        for page in UInt64(0)..<16 { Self.put(page << 12 | 3, at: 0x7000 + 8 * page, memory) }
        var state = VCPUState(system: .longMode(pageTable: .init(0x4000)))
        (state.general.rip, state.general.rsp) = (Self.instruction, Self.stack)
        (state.system.cs.selector, state.system.ss.selector) = (8, 16)
        (state.system.tr.base, state.system.tr.limit) = (0x8000, 0x67)
        Self.put(Self.interruptStack, at: 0x8000 + 0x24, memory)
        before = state
    }

    private static func put(_ word: UInt64, at address: UInt64, _ memory: FlatMemory) {
        #expect(memory.writeUInt64(word, at: .init(address)))
    }

    /// RIP, CS, RFLAGS, RSP and SS, as the CPU pushes them below `top`.
    private func push(
        below top: UInt64, rip: UInt64 = instruction, cs: UInt64 = 8, flags: UInt64 = 0x102,
        rsp: UInt64 = stack, ss: UInt64 = 16
    ) {
        for (index, word) in [rip, cs, flags, rsp, ss].enumerated() {
            Self.put(word, at: top - 40 + 8 * UInt64(index), memory)
        }
    }

    private func find(rip: UInt64 = handler, rsp: UInt64, code: [UInt8] = []) -> UInt64? {
        var now = before
        (now.general.rip, now.general.rsp) = (rip, rsp)
        return PushedFlags.address(since: before, now: now, memory: memory) { code }?.rawValue
    }

    @Test(arguments: [stack, interruptStack], [40, 48, 56, 0x800] as [UInt64])
    func `an exception's flags are found wherever in its handler the step ended`(
        top: UInt64, depth: UInt64
    ) {
        push(below: top)
        #expect(find(rsp: top - depth) == top - 24)
        // A trap leaves RIP behind its instruction.
        push(below: top, rip: Self.instruction + 2)
        #expect(find(rip: Self.handler + 0x500, rsp: top - depth) == top - 24)
    }

    @Test func `a stack pointer that is not aligned is where the exception found it`() {
        var odd = before
        odd.general.rsp = Self.stack + 5
        push(below: Self.stack, rsp: Self.stack + 5)
        var now = odd
        (now.general.rip, now.general.rsp) = (Self.handler, Self.stack - 40)
        let found = PushedFlags.address(since: odd, now: now, memory: memory) { [] }
        #expect(found?.rawValue == Self.stack - 24)
    }

    @Test func `words that differ from what the CPU would push are no frame`() {
        let rsp = Self.stack - 40
        push(below: Self.stack, rip: Self.instruction + 16)
        #expect(find(rsp: rsp) == nil)
        push(below: Self.stack, rip: Self.instruction - 1)
        #expect(find(rsp: rsp) == nil)
        push(below: Self.stack, cs: 0x10)
        #expect(find(rsp: rsp) == nil)
        for flags: UInt64 in [0x100, 0x2, 0x1_0000_0102] {
            push(below: Self.stack, flags: flags)
            #expect(find(rsp: rsp) == nil)
        }
        push(below: Self.stack, rsp: Self.stack - 8)
        #expect(find(rsp: rsp) == nil)
        push(below: Self.stack, ss: 0x18)
        #expect(find(rsp: rsp) == nil)
        push(below: Self.stack)
        #expect(find(rsp: rsp) == Self.stack - 24)
    }

    @Test(arguments: [0, 8, 16] as [UInt64])
    func `a jump, a call and a return leave what looks like a frame alone`(offset: UInt64) {
        push(below: Self.stack)
        // From one word below where it was to one above.
        #expect(find(rsp: Self.stack - 8 + offset) == nil)
    }

    @Test func `a frame below the stack pointer, or far above it, is nobody's`() {
        push(below: Self.stack)
        #expect(find(rsp: Self.stack - 32) == nil)
        #expect(find(rsp: Self.stack &- 0x20000) == nil)
    }

    @Test func `what an earlier exception of the same instruction has left hides nothing`() {
        push(below: Self.stack, flags: 0x2)
        push(below: Self.interruptStack)
        #expect(find(rsp: Self.stack - 48) == Self.interruptStack - 24)
    }

    @Test func `a handler may lie right behind the instruction, or work where the stack was`() {
        push(below: Self.stack)
        #expect(find(rip: Self.instruction + 2, rsp: Self.stack - 40) == Self.stack - 24)
        Self.put(Self.stack + 40, at: 0x8000 + 0x24, memory)
        push(below: Self.stack + 32)
        #expect(find(rsp: Self.stack - 8) == Self.stack + 8)
    }

    @Test func `an interrupt stack that is not to be read has no frame`() {
        push(below: Self.interruptStack)
        var short = before
        short.system.tr.limit = 0x2A
        var now = short
        (now.general.rip, now.general.rsp) = (Self.handler, Self.interruptStack - 40)
        #expect(PushedFlags.address(since: short, now: now, memory: memory) { [] } == nil)
    }

    @Test(
        arguments: [
            ([0x9C], 8), ([0x66, 0x9C], 2), ([0x48, 0x9C], 8), ([0x2E, 0xF3, 0x66, 0x46, 0x9C], 2),
        ] as [([UInt8], UInt64)])
    func `PUSHF has pushed at the stack pointer`(code: [UInt8], byteCount: UInt64) {
        let rsp = Self.stack - byteCount
        let next = Self.instruction + UInt64(code.count)
        #expect(find(rip: next, rsp: rsp, code: code + [0x90]) == rsp)
    }

    @Test(
        arguments: [
            [0x50], [0x6A, 0x9C], [0x66, 0x6A, 0x9C], [0xE8, 0, 0, 0, 0], [0x66, 0x66], [],
        ] as [[UInt8]])
    func `another push is data`(code: [UInt8]) {
        let next = Self.instruction + UInt64(code.count)
        #expect(find(rip: next, rsp: Self.stack - 8, code: code) == nil)
    }

    @Test func `an instruction that pushes nothing is not fetched`() {
        var now = before
        now.general.rip += 1
        let found = PushedFlags.address(since: before, now: now, memory: memory) {
            Issue.record("fetched")
            return []
        }
        #expect(found == nil)
    }
}
