/// What the guest's page tables say about one address.
package struct Translation: Hashable, Sendable {
    package let physicalAddress: GuestPhysicalAddress
    /// All levels allow writing.
    package let isWritable: Bool
    /// No level forbids executing.
    package let isExecutable: Bool
    /// A Hyperlight copy-on-write page: of the software bits 9 to 11 exactly bit 9 is set.
    package let isCopyOnWrite: Bool
    /// 4 KiB, 2 MiB or 1 GiB.
    package let pageByteCount: Int
    /// The last entry read; 0 when paging is off.
    package let leafEntry: UInt64

    /// Bytes from the address to the end of its page, at least 1.
    package var bytesToPageEnd: Int {
        pageByteCount - Int(physicalAddress.rawValue & UInt64(pageByteCount - 1))
    }
}

/// One entry that a page walk has read.
package struct PageWalkStep: Hashable, Sendable {
    /// 4 is the table that CR3 names, 1 the last one.
    package let level: Int
    package let place: GuestPhysicalAddress
    /// Nil where no memory is.
    package let entry: UInt64?
}

/// How addresses are translated.
///
/// - Source: Intel SDM volume 3, "Paging Modes and Control Bits".
package enum PagingMode: Hashable, Sendable {
    /// Addresses are physical ones.
    case off
    case fourLevels
    /// 32-bit, PAE or five levels.
    case unsupported

    package init(_ system: SystemRegisters) {
        let isLong = system.efer & (1 << 10) != 0
        let hasFiveLevels = system.cr4 & (1 << 12) != 0
        if system.cr0 & (1 << 31) == 0 {
            self = .off
        } else {
            self = isLong && !hasFiveLevels ? .fourLevels : .unsupported
        }
    }
}

/// The one walk of guest page tables, for the debugger and for drivers that deliver exceptions.
///
/// It goes as the CPU does, without changing accessed and dirty bits.
///
/// The tables are the guest's and hostile: at most four words are read a walk, each once, and an
/// entry that points where no memory is ends it.
///
/// - Source: Intel SDM volume 3, "4-Level Paging and 5-Level Paging".
package enum PageWalk {
    static let addressMask: UInt64 = 0x000F_FFFF_FFFF_F000

    /// The translation of `address`, nil when it is not mapped, not canonical, or the CPU is in a
    /// paging mode other than none and four levels (32-bit, PAE and five levels are refused).
    ///
    /// The physical address found need not have memory.
    package static func translate(
        _ address: GuestVirtualAddress, system: SystemRegisters, memory: some PhysicalMemory
    ) -> Translation? {
        switch PagingMode(system) {
        case .off: return unpaged(address)
        case .unsupported: return nil
        case .fourLevels:
            guard isCanonical(address) else { return nil }
            return walk(address, system: system, memory: memory) { _ in }
        }
    }

    /// The entries that the walk for `address` reads, the first level first; none without a walk.
    package static func steps(
        to address: GuestVirtualAddress, system: SystemRegisters, memory: some PhysicalMemory
    ) -> [PageWalkStep] {
        var steps: [PageWalkStep] = []
        guard PagingMode(system) == .fourLevels, isCanonical(address) else { return steps }
        _ = walk(address, system: system, memory: memory) { steps.append($0) }
        return steps
    }

    /// Without EFER.NXE bit 63 is reserved: such an entry faults on a CPU, here it is ignored.
    static func noExecuteBit(_ system: SystemRegisters) -> UInt64 {
        system.efer & (1 << 11) != 0 ? 1 << 63 : 0
    }

    private static func walk(
        _ address: GuestVirtualAddress, system: SystemRegisters, memory: some PhysicalMemory,
        visit: (PageWalkStep) -> Void
    ) -> Translation? {
        let noExecuteBit = noExecuteBit(system)
        var table = system.cr3 & addressMask
        var isWritable = true
        var isExecutable = true
        var shift: UInt64 = 39
        while true {
            let place = GuestPhysicalAddress(table + 8 * ((address.rawValue >> shift) & 511))
            let read = memory.readUInt64(at: place)
            visit(PageWalkStep(level: Int(shift - 3) / 9, place: place, entry: read))
            guard let entry = read, entry & 1 != 0 else { return nil }
            isWritable = isWritable && entry & 2 != 0
            isExecutable = isExecutable && entry & noExecuteBit == 0
            let isLarge = entry & (1 << 7) != 0
            // The large-page bit is reserved in the first level.
            if isLarge && shift == 39 { return nil }
            if isLarge || shift == 12 {
                let offsetMask = (UInt64(1) << shift) - 1
                let physical =
                    (entry & addressMask & ~offsetMask) | (address.rawValue & offsetMask)
                return Translation(
                    physicalAddress: GuestPhysicalAddress(physical), isWritable: isWritable,
                    isExecutable: isExecutable, isCopyOnWrite: entry & 0xE00 == 0x200,
                    pageByteCount: 1 << Int(shift), leafEntry: entry)
            }
            table = entry & addressMask
            shift -= 9
        }
    }

    private static func unpaged(_ address: GuestVirtualAddress) -> Translation? {
        guard address.rawValue <= UInt64(UInt32.max) else { return nil }
        return Translation(
            physicalAddress: GuestPhysicalAddress(address.rawValue), isWritable: true,
            isExecutable: true, isCopyOnWrite: false, pageByteCount: guestPageBytes, leafEntry: 0)
    }

    /// Bits 47 to 63 are all equal.
    package static func isCanonical(_ address: GuestVirtualAddress) -> Bool {
        let top = Int64(bitPattern: address.rawValue) >> 47
        return top == 0 || top == -1
    }
}
