/// What guest code may do with memory, as its page tables say.
package struct MemoryPermissions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let read = MemoryPermissions(rawValue: 1 << 0)
    package static let write = MemoryPermissions(rawValue: 1 << 1)
    package static let execute = MemoryPermissions(rawValue: 1 << 2)
    package static let all: MemoryPermissions = [.read, .write, .execute]
}

/// A run of guest virtual addresses that are all mapped alike, or a hole between two of them.
package struct MappedRegion: Hashable, Sendable {
    package let start: GuestVirtualAddress
    /// The last byte that belongs to it; never below `start`.
    package let last: GuestVirtualAddress
    /// Nil for a hole.
    package let permissions: MemoryPermissions?
    /// What lies there, in one or two words for people; empty when nothing is known.
    package let name: String

    /// Nil when `last` is below `start`.
    package init?(
        start: GuestVirtualAddress, last: GuestVirtualAddress, permissions: MemoryPermissions?,
        name: String = ""
    ) {
        guard last >= start else { return nil }
        self.start = start
        self.last = last
        self.permissions = permissions
        self.name = name
    }
}
