import GuestModel

/// Page tables under construction: four levels, 4 KiB leaves, in the order they were needed.
///
/// Accessed and dirty are preset everywhere, so that a CPU never has to write to them.
///
/// - Source: Intel SDM volume 3, "4-Level Paging"; Hyperlight guest ABI 0.17, page tables.
struct PageTables: Sendable {
    /// What a leaf allows; the raw value is the entry without its address.
    enum Leaf: UInt64, Sendable {
        case copyOnWriteExecutable = 0x261
        case copyOnWrite = 0x8000_0000_0000_0261
        case readOnly = 0x8000_0000_0000_0061
        case writable = 0x8000_0000_0000_0063
        case writableExecutable = 0x63
    }

    private static let entriesPerTable = 512
    private static let tableFlags: UInt64 = 0x23

    /// Where the first table will lie.
    let start: GuestPhysicalAddress
    /// All tables, one behind the other.
    private(set) var entries: [UInt64]

    init(start: GuestPhysicalAddress) {
        self.start = start
        entries = Array(repeating: 0, count: Self.entriesPerTable)
    }

    var byteCount: UInt64 { UInt64(entries.count) * 8 }

    /// Where the first byte behind the tables lies.
    var end: GuestPhysicalAddress { GuestPhysicalAddress(start.rawValue + byteCount) }

    /// Maps `byteCount` bytes, rounded up to pages; both addresses are page-aligned, and the
    /// caller has checked that neither range wraps.
    mutating func map(
        _ virtual: GuestVirtualAddress, to physical: GuestPhysicalAddress, byteCount: UInt64,
        as leaf: Leaf
    ) {
        var offset: UInt64 = 0
        while offset < byteCount {
            let address = virtual.rawValue + offset
            let table = lastTable(for: address)
            // One table walk for all pages that share the last table.
            for slot in Int(address >> 12) & 511..<Self.entriesPerTable where offset < byteCount {
                entries[table + slot] = (physical.rawValue + offset) | leaf.rawValue
                offset += UInt64(guestPageBytes)
            }
        }
    }

    /// Index of the first entry of the last-level table for `address`, made when missing.
    private mutating func lastTable(for address: UInt64) -> Int {
        var table = 0
        for shift in [UInt64(39), 30, 21] {
            let slot = table + Int(address >> shift) & 511
            if entries[slot] == 0 {
                entries[slot] = end.rawValue | Self.tableFlags
                entries.append(contentsOf: repeatElement(0, count: Self.entriesPerTable))
            }
            table = Int((entries[slot] - Self.tableFlags - start.rawValue) / 8)
        }
        return table
    }
}
