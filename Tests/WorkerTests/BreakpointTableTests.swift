import GuestModel
import Hypervisor
import Testing
import WireProtocol

@testable import Worker

private let start = GuestVirtualAddress(NopMachine.codeStart)
private let place = GuestPhysicalAddress(NopMachine.codeStart)
/// The page behind the code, which `aliasedGuest` maps to the code as well.
private let alias = GuestVirtualAddress(NopMachine.codeStart + 0x1000)

struct BreakpointTableTests {
    private func guest(
        _ machine: NopMachine = NopMachine(capabilities: [.complete, .watchpoints])
    ) throws -> Guest {
        let image = NopMachine.image([0x55, 0x90, 0xF4])
        return try Guest(
            machine, image: image.span, settings: .plain, inputs: GuestInputs(seed: 0))
    }

    /// A guest whose code can be seen at two addresses.
    private func aliasedGuest() throws -> Guest {
        let guest = try guest()
        var table = guest.state.system.cr3
        for shift: UInt64 in [39, 30, 21] {
            let index = start.rawValue >> shift & 511
            let entry = try #require(guest.memory.readUInt64(at: .init(table + index * 8)))
            table = entry & 0x000F_FFFF_FFFF_F000
        }
        let entry = GuestPhysicalAddress(table + (start.rawValue >> 12 & 511) * 8)
        let value = try #require(guest.memory.readUInt64(at: entry))
        #expect(guest.memory.writeUInt64(value, at: .init(entry.rawValue + 8)))
        #expect(guest.physicalAddress(of: alias) == place)
        return guest
    }

    private func bytes(_ table: BreakpointTable, _ guest: Guest, at address: GuestVirtualAddress)
        throws -> [UInt8]
    {
        var bytes: [UInt8] = []
        let range = try #require(GuestVirtualRange(start: address, byteCount: 3))
        #expect(guest.read(range, appendingTo: &bytes) == 3)
        table.hide(in: &bytes, readAt: address)
        return bytes
    }

    @Test func `reads show the byte under a breakpoint`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        #expect(guest.byte(at: place) == 0xCC)
        #expect(try bytes(table, guest, at: start) == [0x55, 0x90, 0xF4])
    }

    @Test func `a byte written over a breakpoint is there when it goes`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let patched = table.patched([1, 2], at: start)
        #expect(patched == [0xCC, 2])
        let isWritten = guest.write(patched.span, at: start)
        #expect(isWritten)
        table.noteWritten([1, 2], at: start)
        #expect(try bytes(table, guest, at: start) == [1, 2, 0xF4])
        try table.clientLeft(in: guest)
        #expect(guest.byte(at: place) == 1)
    }

    @Test func `two addresses of one byte share its patch`() throws {
        let guest = try aliasedGuest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        try table.insert(.software, at: alias, in: guest)
        #expect(try bytes(table, guest, at: alias) == [0x55, 0x90, 0xF4])
        let during = try table.withoutBreakpoint(at: alias, in: guest) { guest.byte(at: place) }
        #expect(during == 0x55)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.byte(at: place) == 0xCC)
        try table.remove(.software, at: alias, in: guest)
        #expect(guest.byte(at: place) == 0x55)
    }

    @Test func `both kinds at one address go one by one`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        try table.insert(.hardware, at: start, in: guest)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.byte(at: place) == 0x55)
        #expect(table.kind(at: start) == .hardware)
        try table.remove(.hardware, at: start, in: guest)
        #expect(table.kind(at: start) == nil)
    }

    @Test func `a byte that the guest wrote over a breakpoint stays`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        #expect(guest.memory.write([0x42], at: place))
        try table.clientLeft(in: guest)
        #expect(guest.byte(at: place) == 0x42)
    }

    @Test func `a fifth hardware breakpoint and an unmapped address are refused`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        for offset in 0..<UInt64(4) {
            try table.insert(.hardware, at: .init(start.rawValue + offset), in: guest)
        }
        #expect(throws: DebugRefusal.noFreeDebugRegister) {
            try table.insert(.hardware, at: alias, in: guest)
        }
        #expect(throws: DebugRefusal.notMapped) {
            try table.insert(.software, at: .init(0x10), in: guest)
        }
    }

    @Test func `inserting a watch twice is one, and removing what is not there is no mistake`()
        throws
    {
        let machine = NopMachine(capabilities: [.complete, .watchpoints])
        let guest = try guest(machine)
        var table = BreakpointTable()
        let (first, second) = (try watch(.write, 0x1000, 8), try watch(.access, 0x1000, 8))
        try table.insert(first, in: guest)
        try table.insert(first, in: guest)
        try table.insert(second, in: guest)
        #expect(machine.watchpoints == [first, second])
        try table.remove(first, in: guest)
        try table.remove(first, in: guest)
        try table.remove(try watch(.write, 0x1000, 4), in: guest)
        #expect(machine.watchpoints == [second])
        try table.clientLeft(in: guest)
        #expect(machine.watchpoints == [])
    }

    @Test func `a watch that does not fit is not set at all`() throws {
        let machine = NopMachine(capabilities: [.complete, .watchpoints])
        let guest = try guest(machine)
        var table = BreakpointTable()
        try table.insert(.hardware, at: start, in: guest)
        let fits = try watch(.write, 0x1000, 16)
        try table.insert(fits, in: guest)
        #expect(throws: DebugRefusal.noFreeDebugRegister) {
            try table.insert(try watch(.write, 0x2001, 2), in: guest)
        }
        #expect(throws: DebugRefusal.noFreeDebugRegister) {
            try table.insert(try watch(.write, 0x2000, watchedBytesMax + 1), in: guest)
        }
        #expect(machine.watchpoints == [fits])
        try table.insert(try watch(.read, 0x2001, 1), in: guest)
        #expect(throws: DebugRefusal.noFreeDebugRegister) {
            try table.insert(.hardware, at: alias, in: guest)
        }
    }

    @Test func `a watch that the driver cannot have is refused`() throws {
        let guest = try guest(NopMachine())
        var table = BreakpointTable()
        #expect(throws: DebugRefusal.notSupported) {
            try table.insert(try watch(.write, 0x1000, 8), in: guest)
        }
        try table.insert(.hardware, at: start, in: guest)
    }

    private func watch(_ kind: WatchKind, _ start: UInt64, _ byteCount: Int) throws -> Watchpoint {
        let range = try #require(GuestVirtualRange(start: .init(start), byteCount: byteCount))
        return try #require(Watchpoint(kind, range))
    }
}
