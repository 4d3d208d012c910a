// GuestModel: the words every other target uses for a guest.
//
// Addresses, registers, stop reasons, breakpoint kinds, names and the limits that more than one
// process has to agree on, and the walk of a guest's page tables (`PageWalk.swift`). Nothing here does
// input or output. Start with `RegisterFile.swift` and `StopReason.swift`.

/// An address as the guest's own code sees it (GVA); what gdb sends.
package struct GuestVirtualAddress: RawRepresentable, Hashable, Comparable, Sendable {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// The address of the first byte of the 4 KiB page this address lies in.
    package var pageBase: GuestVirtualAddress { Self(rawValue & ~UInt64(guestPageBytes - 1)) }

    /// Distance in bytes from the start of the page, 0...4095.
    package var pageOffset: Int { Int(rawValue & UInt64(guestPageBytes - 1)) }
}

/// An address in the guest's physical memory (GPA), before any paging.
package struct GuestPhysicalAddress: RawRepresentable, Hashable, Comparable, Sendable {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Bytes in one guest page; larger pages are multiples of it.
package let guestPageBytes = 4096

/// `value` rounded up to whole guest pages, or nil when that does not fit in 64 bits.
package func roundedUpToGuestPage(_ value: UInt64) -> UInt64? {
    let mask = UInt64(guestPageBytes - 1)
    let (sum, overflow) = value.addingReportingOverflow(mask)
    return overflow ? nil : sum & ~mask
}

/// A run of guest virtual addresses that is known not to wrap around the end of the address space.
package struct GuestVirtualRange: Hashable, Sendable {
    package let start: GuestVirtualAddress
    package let byteCount: Int

    /// Nil when the count is negative or the last byte would lie beyond 2^64 - 1.
    package init?(start: GuestVirtualAddress, byteCount: Int) {
        guard byteCount >= 0 else { return nil }
        if byteCount > 0 {
            let (_, overflow) = start.rawValue.addingReportingOverflow(UInt64(byteCount - 1))
            guard !overflow else { return nil }
        }
        self.start = start
        self.byteCount = byteCount
    }

    package func contains(_ address: GuestVirtualAddress) -> Bool {
        address.rawValue >= start.rawValue && address.rawValue - start.rawValue < UInt64(byteCount)
    }
}
