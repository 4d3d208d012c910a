import GuestModel
import Hypervisor
import Testing

struct DebugRegisterTests {
    /// A watched range and the pieces a CPU needs for it, or nil when that is more than four.
    struct Cut: Sendable, CustomTestStringConvertible {
        let start: UInt64
        let byteCount: Int
        let pieces: [(UInt64, UInt64)]?

        init(_ start: UInt64, _ byteCount: Int, _ pieces: [(UInt64, UInt64)]?) {
            (self.start, self.byteCount, self.pieces) = (start, byteCount, pieces)
        }

        var testDescription: String { "\(byteCount) bytes at 0x\(String(start, radix: 16))" }
    }

    @Test(arguments: [
        Cut(0x1000, 1, [(0x1000, 1)]), Cut(0x1001, 1, [(0x1001, 1)]),
        Cut(0x1000, 2, [(0x1000, 2)]), Cut(0x1001, 2, [(0x1001, 1), (0x1002, 1)]),
        Cut(0x1000, 3, [(0x1000, 2), (0x1002, 1)]), Cut(0x1000, 4, [(0x1000, 4)]),
        Cut(0x1002, 4, [(0x1002, 2), (0x1004, 2)]),
        Cut(0x1001, 4, [(0x1001, 1), (0x1002, 2), (0x1004, 1)]),
        Cut(0x1000, 8, [(0x1000, 8)]), Cut(0x1004, 8, [(0x1004, 4), (0x1008, 4)]),
        Cut(0x1006, 8, [(0x1006, 2), (0x1008, 4), (0x100C, 2)]),
        Cut(0x1001, 6, [(0x1001, 1), (0x1002, 2), (0x1004, 2), (0x1006, 1)]),
        Cut(0x1001, 8, [(0x1001, 1), (0x1002, 2), (0x1004, 4), (0x1008, 1)]),
        Cut(0x1000, 16, [(0x1000, 8), (0x1008, 8)]),
        Cut(0x1000, 32, [(0x1000, 8), (0x1008, 8), (0x1010, 8), (0x1018, 8)]),
        Cut(0x1000, 33, nil), Cut(0x1001, 32, nil), Cut(0x1003, 30, nil), Cut(0x1000, .max, nil),
        Cut(0xFFC, 8, [(0xFFC, 4), (0x1000, 4)]),
        Cut(.max, 1, [(.max, 1)]), Cut(.max - 7, 8, [(.max - 7, 8)]),
        Cut(.max - 2, 3, [(.max - 2, 1), (.max - 1, 2)]),
    ])
    func `a range is cut into aligned pieces`(_ cut: Cut) throws {
        let watchpoint = try watchpoint(.write, cut.start, cut.byteCount)
        let expected = cut.pieces?.map { start, byteCount in
            DebugRegister.data(.write, GuestVirtualAddress(start), byteCount: byteCount)
        }
        #expect(watchpoint.pieces(atMost: 4) == expected)
    }

    @Test(
        arguments: [
            (.write, 1, 0b0001), (.write, 2, 0b0101), (.write, 4, 0b1101), (.write, 8, 0b1001),
            (.access, 1, 0b0011), (.access, 8, 0b1011), (.read, 4, 0b1111),
        ] as [(WatchKind, UInt64, UInt64)])
    func `a condition is as DR7 has it`(_ kind: WatchKind, _ byteCount: UInt64, _ condition: UInt64)
    {
        let register = DebugRegister.data(kind, .init(0x1000), byteCount: byteCount)
        #expect(register.condition == condition)
        #expect(register.address == .init(0x1000))
        #expect(DebugRegister.instruction(.init(0x1000)).condition == 0)
    }

    @Test func `breakpoints and watches share the four registers`() throws {
        let instruction = GuestVirtualAddress(0x4000)
        let six = try watchpoint(.write, 0x1002, 6)
        let both = Breakpoints(hardware: [instruction], watchpoints: [six])
        #expect(
            both.debugRegisters == [
                .instruction(instruction), .data(.write, .init(0x1002), byteCount: 2),
                .data(.write, .init(0x1004), byteCount: 4),
            ])
        let one = try watchpoint(.read, 0x2000, 1)
        #expect(
            Breakpoints(hardware: [instruction], watchpoints: [six, one]).debugRegisters != nil)
        let two = try watchpoint(.read, 0x2000, 3)
        #expect(
            Breakpoints(hardware: [instruction], watchpoints: [six, two]).debugRegisters == nil)
        #expect(Breakpoints().debugRegisters == [])
    }

    @Test func `watches that overlap share equal pieces`() throws {
        let long = try watchpoint(.write, 0x1000, 24)
        let short = try watchpoint(.write, 0x1008, 16)
        #expect(Breakpoints(watchpoints: [long, short]).debugRegisters?.count == 3)
        let other = try watchpoint(.access, 0x1008, 16)
        #expect(Breakpoints(watchpoints: [long, other]).debugRegisters == nil)
    }

    private func watchpoint(
        _ kind: WatchKind, _ start: UInt64, _ byteCount: Int
    ) throws -> Watchpoint {
        // The longest range that begins here.
        let longest = Int(clamping: UInt64.max - start)
        let count = byteCount == .max ? longest : byteCount
        let range = try #require(GuestVirtualRange(start: .init(start), byteCount: count))
        return try #require(Watchpoint(kind, range))
    }
}
