package import GuestModel

/// One run of guest physical memory that the worker has to provide, zeroed, whole pages.
package struct GuestRegion: Hashable, Sendable {
    package let start: GuestPhysicalAddress
    package let byteCount: Int
    /// False: the hypervisor must refuse the guest's own writes; the host may still write.
    package let isGuestWritable: Bool
}

/// Where a Hyperlight guest and its host exchange messages.
package struct GuestIOLayout: Hashable, Sendable {
    /// Host to guest.
    package let input: GuestBuffer
    /// Guest to host.
    package let output: GuestBuffer
}

/// What an ABI makes of an image: memory, its first contents apart from the image, registers.
struct GuestLayout: Sendable {
    /// A 64-bit word that has to be in memory before the guest starts.
    struct Word: Sendable {
        let address: GuestPhysicalAddress
        let value: UInt64
    }

    /// Scratch memory ends here in both ABIs: 2^36.
    static let scratchEnd: UInt64 = 1 << 36
    /// The image base of position-independent guests.
    static let imageBase: UInt64 = 0x4000

    let loadBias: UInt64
    let regions: [GuestRegion]
    let tables: PageTables
    let words: [Word]
    let io: GuestIOLayout?
    /// At entry, apart from a seed that the ABI may want.
    let state: VCPUState
    /// Names of what lies where, in ascending order.
    let areas: [MemoryArea]

    /// `value` rounded up to pages; the caller has bounded it far below 2^64.
    static func pages(_ value: UInt64) -> UInt64 {
        (value + UInt64(guestPageBytes - 1)) & ~UInt64(guestPageBytes - 1)
    }
}
