/// A run of guest virtual addresses with a name, whatever is mapped there.
package struct MemoryArea: Hashable, Sendable {
    package let start: GuestVirtualAddress
    /// The last byte that belongs to it; never below `start`.
    package let last: GuestVirtualAddress
    /// One or two words for people.
    package let name: String

    /// Nil for an area without bytes, or one beyond the last address.
    package init?(_ name: String, at start: UInt64, byteCount: UInt64) {
        guard byteCount > 0 else { return nil }
        let (last, overflow) = start.addingReportingOverflow(byteCount - 1)
        guard !overflow else { return nil }
        self.start = GuestVirtualAddress(start)
        self.last = GuestVirtualAddress(last)
        self.name = name
    }

    package func contains(_ address: GuestVirtualAddress) -> Bool {
        address >= start && address <= last
    }
}
