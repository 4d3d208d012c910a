/// Which accesses of the guest a watchpoint stops at.
///
/// The CPU has no debug register for reads alone: drivers that use those stop at any access instead.
package enum WatchKind: UInt8, Hashable, Sendable, CaseIterable {
    case write = 0
    case read = 1
    case access = 2
}

/// A piece of guest memory whose use stops the guest (`Z2` to `Z4`).
package struct Watchpoint: Hashable, Sendable {
    package let kind: WatchKind
    /// At least one byte.
    package let range: GuestVirtualRange

    /// Nil for an empty range.
    package init?(_ kind: WatchKind, _ range: GuestVirtualRange) {
        guard range.byteCount > 0 else { return nil }
        self.kind = kind
        self.range = range
    }
}

/// Watchpoints in one session; more is a mistake or an attack.
package let watchpointsMax = 64

/// Bytes that one watchpoint may watch.
package let watchedBytesMax = 16 << 20
