/// Finds what is mapped around an address: the run of pages with the same rights, or a hole.
///
/// The tables are the guest's and hostile, so a question reads a bounded number of entries. Where
/// that is not enough, the run is cut: it ends where the search ended, and the next question goes on
/// from there.
///
/// - Source: Intel SDM volume 3, "4-Level Paging and 5-Level Paging".
package struct RegionWalk<Memory: PhysicalMemory> {
    private let memory: Memory
    /// Names, ascending and without overlap; a region never reaches across a border of one.
    private let areas: [MemoryArea]
    private let mode: PagingMode
    private let root: UInt64
    private let noExecuteBit: UInt64

    /// Entries that the present question may still read.
    private var budget = 0
    /// The last-level table of the address before: neighbours mostly share it.
    private var lastTable: LastTable?

    private struct LastTable {
        /// The address without its 21 low bits.
        let key: UInt64
        let table: UInt64
        let rights: MemoryPermissions
    }

    /// Addresses that one entry or one rule decides about.
    private struct Block {
        var first: UInt64
        var last: UInt64
        var rights: MemoryPermissions?
    }

    package init(system: SystemRegisters, memory: Memory, areas: [MemoryArea] = []) {
        self.memory = memory
        self.areas = areas
        mode = PagingMode(system)
        root = system.cr3 & PageWalk.addressMask
        noExecuteBit = PageWalk.noExecuteBit(system)
    }

    /// The region or the hole that `address` lies in; it reads at most `entriesMax` table entries in
    /// each direction.
    package mutating func region(
        around address: GuestVirtualAddress, entriesMax: Int = 1 << 17
    ) -> MappedRegion? {
        var found = block(at: address.rawValue)
        let area = areas.first { $0.contains(address) }
        let limits =
            found.rights == nil ? (first: 0, last: .max) : namedLimits(address.rawValue, area)
        budget = entriesMax
        while found.last < limits.last, budget > 0 {
            let next = block(at: found.last + 1)
            guard next.rights == found.rights else { break }
            found.last = next.last
        }
        budget = entriesMax
        while found.first > limits.first, budget > 0 {
            let previous = block(at: found.first - 1)
            guard previous.rights == found.rights else { break }
            found.first = previous.first
        }
        return MappedRegion(
            start: GuestVirtualAddress(max(found.first, limits.first)),
            last: GuestVirtualAddress(min(found.last, limits.last)), permissions: found.rights,
            name: found.rights == nil ? "" : area?.name ?? "")
    }

    /// The addresses that have the same name as `address`, or none like it.
    private func namedLimits(
        _ address: UInt64, _ area: MemoryArea?
    ) -> (first: UInt64, last: UInt64) {
        if let area { return (area.start.rawValue, area.last.rawValue) }
        let before = areas.last { $0.last.rawValue < address }
        let behind = areas.first { $0.start.rawValue > address }
        return (
            before.map { $0.last.rawValue + 1 } ?? 0, behind.map { $0.start.rawValue - 1 } ?? .max
        )
    }

    // MARK: Tables

    private mutating func block(at address: UInt64) -> Block {
        guard mode == .fourLevels else { return Block(first: 0, last: .max) }
        guard PageWalk.isCanonical(GuestVirtualAddress(address)) else {
            return Block(first: 1 << 47, last: (~0 << 47) - 1)
        }
        if let known = lastTable, known.key == address >> 21 {
            return entry(for: address, in: known.table, shift: 12, rights: known.rights)
        }
        return entry(for: address, in: root, shift: 39, rights: .all)
    }

    /// What the entry of `address` in this table says, and those of the tables that it leads to.
    private mutating func entry(
        for address: UInt64, in table: UInt64, shift: UInt64, rights: MemoryPermissions
    ) -> Block {
        budget -= 1
        let slot = address >> shift & 511
        guard let entry = memory.readUInt64(at: GuestPhysicalAddress(table + 8 * slot)) else {
            // A table is a page: where one entry has no memory, none has.
            return hole(around: address, shift: min(shift + 9, 48))
        }
        guard entry & 1 != 0 else { return hole(around: address, shift: shift) }
        var rights = rights
        if entry & 2 == 0 { rights.remove(.write) }
        if entry & noExecuteBit != 0 { rights.remove(.execute) }
        let isLarge = entry & (1 << 7) != 0
        let target = entry & PageWalk.addressMask
        if shift == 12 || isLarge && shift < 39 {
            return leaf(address, at: target, shift: shift, rights: rights)
        }
        // The large-page bit is reserved in the first level.
        guard !isLarge else { return hole(around: address, shift: shift) }
        if shift == 21 {
            lastTable = LastTable(key: address >> 21, table: target, rights: rights)
        }
        return self.entry(for: address, in: target, shift: shift - 9, rights: rights)
    }

    private func hole(around address: UInt64, shift: UInt64) -> Block {
        // Half of the addresses that a first-level table could hold are not canonical.
        guard shift < 48 else {
            let isLow = address >> 47 == 0
            return isLow ? Block(first: 0, last: (1 << 47) - 1) : Block(first: ~0 << 47, last: .max)
        }
        let mask = (UInt64(1) << shift) - 1
        return Block(first: address & ~mask, last: address | mask)
    }

    /// A mapped page; one that has no memory behind it is a hole.
    private mutating func leaf(
        _ address: UInt64, at target: UInt64, shift: UInt64, rights: MemoryPermissions
    ) -> Block {
        let mask = (UInt64(1) << shift) - 1
        let start = target & ~mask
        func hasMemory(_ offset: UInt64) -> Bool {
            memory.readUInt64(at: GuestPhysicalAddress(start + offset)) != nil
        }
        if shift == 12 || hasMemory(0) && hasMemory(mask - 7) {
            let isThere = shift > 12 || hasMemory(0)
            return Block(
                first: address & ~mask, last: address | mask, rights: isThere ? rights : nil)
        }
        // A large page that is only partly there is looked at in small ones.
        let small = UInt64(guestPageBytes - 1)
        return Block(
            first: address & ~small, last: address | small,
            rights: hasMemory(address & mask & ~small) ? rights : nil)
    }
}
