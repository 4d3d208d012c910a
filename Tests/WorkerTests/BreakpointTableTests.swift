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
        table.hide(in: &bytes, from: guest.pieces(at: address, byteCount: 3))
        return bytes
    }

    @Test func `reads show the byte under a breakpoint`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0xCC)
        #expect(try bytes(table, guest, at: start) == [0x55, 0x90, 0xF4])
    }

    @Test func `a session has 1024 software breakpoints, and one more is refused`() throws {
        let machine = NopMachine(capabilities: .complete)
        let image = NopMachine.image([UInt8](repeating: 0x90, count: 1025))
        let guest = try Guest(
            machine, image: image.span, settings: .plain, inputs: GuestInputs(seed: 0))
        var table = BreakpointTable()
        func address(_ index: UInt64) -> GuestVirtualAddress { .init(start.rawValue + index) }
        for index: UInt64 in 0..<1024 {
            try table.insert(.software, at: address(index), in: guest)
        }
        #expect(throws: DebugRefusal.tooManyBreakpoints) {
            try table.insert(.software, at: address(1024), in: guest)
        }
        #expect(machine.byte(at: address(1023)) == 0xCC)
        #expect(machine.byte(at: address(1024)) == 0x90)
        // One that is there already is none more.
        try table.insert(.software, at: start, in: guest)
        try table.remove(.software, at: start, in: guest)
        try table.insert(.software, at: address(1024), in: guest)
        #expect(machine.byte(at: address(1024)) == 0xCC)
    }

    @Test func `a byte written over a breakpoint is there when it goes`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let pieces = guest.pieces(at: start, byteCount: 2)
        let patched = table.patched([1, 2], to: pieces)
        #expect(patched == [0xCC, 2])
        let isWritten = guest.write(patched.span, at: start)
        #expect(isWritten)
        table.noteWritten([1, 2], to: pieces)
        #expect(try bytes(table, guest, at: start) == [1, 2, 0xF4])
        try table.clientLeft(in: guest)
        #expect(guest.memory.readUInt8(at: place) == 1)
    }

    @Test func `two addresses of one byte share its patch`() throws {
        let guest = try aliasedGuest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        try table.insert(.software, at: alias, in: guest)
        #expect(try bytes(table, guest, at: alias) == [0x55, 0x90, 0xF4])
        let during = try table.withoutBreakpoint(at: alias, in: guest) {
            guest.memory.readUInt8(at: place)
        }
        #expect(during == 0x55)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0xCC)
        try table.remove(.software, at: alias, in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
    }

    @Test func `a breakpoint's place is one by every address`() throws {
        let guest = try aliasedGuest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        #expect(table.kind(at: alias, in: guest) == .software)
        #expect(table.stops(at: alias, in: guest))
        #expect(table.kind(at: .init(alias.rawValue + 1), in: guest) == nil)
        let during = try table.withoutBreakpoint(at: alias, in: guest) {
            guest.memory.readUInt8(at: place)
        }
        #expect(during == 0x55)
        #expect(guest.memory.readUInt8(at: place) == 0xCC)
        try table.remove(.software, at: start, in: guest)
        #expect(table.kind(at: alias, in: guest) == nil)
    }

    @Test func `both kinds at one address go one by one`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        try table.insert(.hardware, at: start, in: guest)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
        #expect(table.kind(at: start, in: guest) == .hardware)
        try table.remove(.hardware, at: start, in: guest)
        #expect(table.kind(at: start, in: guest) == nil)
    }

    @Test func `a byte that the guest wrote over a breakpoint stays`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        #expect(guest.memory.write([0x42], at: place))
        try table.clientLeft(in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0x42)
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

    // MARK: Pages that come and go

    /// The place of the page table entry of the guest's code.
    private func codeEntry(_ guest: Guest) throws -> GuestPhysicalAddress {
        let steps = PageWalk.steps(to: start, system: guest.state.system, memory: guest.memory)
        return try #require(steps.last?.place)
    }

    /// Maps the code's page to its copy at `page` of scratch memory, or to nothing that was there.
    private func remap(_ guest: Guest, copying: Bool) throws -> GuestPhysicalAddress {
        let scratch = try #require(guest.memory.regions.last)
        let page = GuestPhysicalAddress(scratch.start.rawValue + UInt64(scratch.byteCount) - 0x2000)
        var bytes: [UInt8] = []
        #expect(guest.memory.read(at: place, byteCount: 4096, appendingTo: &bytes))
        if copying { #expect(guest.memory.write(bytes, at: page)) }
        #expect(guest.memory.writeUInt64(page.rawValue | 3, at: try codeEntry(guest)))
        return page
    }

    @Test func `a breakpoint follows into a copy of its page, and the old page is whole at once`()
        throws
    {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let copy = try remap(guest, copying: true)
        #expect(guest.memory.readUInt8(at: copy) == 0xCC)
        table.follow(in: guest)
        #expect(guest.memory.readUInt8(at: copy) == 0xCC)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
        #expect(try bytes(table, guest, at: start) == [0x55, 0x90, 0xF4])
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: copy) == 0x55)
    }

    @Test func `a copy of a page is one although the guest has written to it since`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let copy = try remap(guest, copying: true)
        #expect(guest.memory.write([1, 2, 3], at: .init(copy.rawValue + 0x40)))
        table.follow(in: guest)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: copy) == 0x55)
    }

    @Test func `two breakpoints follow into a copy of their page`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        let second = GuestVirtualAddress(start.rawValue + 1)
        try table.insert(.software, at: start, in: guest)
        try table.insert(.software, at: second, in: guest)
        let copy = try remap(guest, copying: true)
        table.follow(in: guest)
        #expect(try bytes(table, guest, at: start) == [0x55, 0x90, 0xF4])
        try table.clientLeft(in: guest)
        #expect(guest.memory.readUInt8(at: copy) == 0x55)
        #expect(guest.memory.readUInt8(at: .init(copy.rawValue + 1)) == 0x90)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
    }

    @Test func `an int3 of another page's own stays when a breakpoint goes`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let other = try remap(guest, copying: false)
        #expect(guest.memory.write([0xCC, 0xCC, 0xCC, 0xCC], at: other))
        table.follow(in: guest)
        #expect(try bytes(table, guest, at: start) == [0xCC, 0xCC, 0xCC])
        #expect(guest.memory.readUInt8(at: place) == 0x55)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: other) == 0xCC)
    }

    @Test func `a breakpoint is put into another page that is mapped at its address`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let other = try remap(guest, copying: false)
        #expect(guest.memory.readUInt8(at: other) == 0)
        table.follow(in: guest)
        #expect(guest.memory.readUInt8(at: other) == 0xCC)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
        try table.clientLeft(in: guest)
        #expect(guest.memory.readUInt8(at: other) == 0)
    }

    @Test func `a session that ends at once cleans a copy that nobody has seen`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let copy = try remap(guest, copying: true)
        try table.clientLeft(in: guest)
        #expect(guest.memory.readUInt8(at: copy) == 0x55)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
    }

    @Test func `a breakpoint whose page is gone waits where it was`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        let entry = try codeEntry(guest)
        let value = try #require(guest.memory.readUInt64(at: entry))
        #expect(guest.memory.writeUInt64(0, at: entry))
        table.follow(in: guest)
        #expect(table.kind(at: start, in: guest) == .software)
        #expect(guest.memory.writeUInt64(value, at: entry))
        table.follow(in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0xCC)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: place) == 0x55)
    }

    @Test func `reads and writes by another address and past the tables spare breakpoints`() throws
    {
        let guest = try aliasedGuest()
        var table = BreakpointTable()
        try table.insert(.software, at: start, in: guest)
        #expect(try bytes(table, guest, at: alias) == [0x55, 0x90, 0xF4])
        var physical: [UInt8] = []
        #expect(guest.read(at: place, byteCount: 2, appendingTo: &physical) == 2)
        let pieces = [MemoryPiece(part: 0..<2, place: place)]
        table.hide(in: &physical, from: pieces)
        #expect(physical == [0x55, 0x90])
        #expect(table.patched([7, 8], to: pieces) == [0xCC, 8])
        table.noteWritten([7, 8], to: pieces)
        try table.remove(.software, at: start, in: guest)
        #expect(guest.memory.readUInt8(at: place) == 7)
    }

    @Test func `the worker's own stop is one more, and goes without a trace`() throws {
        let guest = try guest()
        var table = BreakpointTable()
        let isSet = table.setOwnStop(start, in: guest)
        #expect(isSet)
        #expect(table.stops(at: start, in: guest))
        #expect(table.kind(at: start, in: guest) == nil)
        let isGone = table.setOwnStop(nil, in: guest)
        #expect(isGone)
        #expect(!table.stops(at: start, in: guest))
    }
}
