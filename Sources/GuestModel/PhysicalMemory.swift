/// Guest physical memory as the worker sees it: bounded, page tables not applied.
///
/// Everything read here was written by the guest and may change between two reads while the guest
/// runs: read once, check the copy, use the copy.
package protocol PhysicalMemory: AnyObject {
    /// The little-endian word at `address`, or nil where no memory is.
    func readUInt64(at address: GuestPhysicalAddress) -> UInt64?

    /// Appends `byteCount` bytes to `bytes`; false (and nothing appended) if any has no memory.
    func read(
        at address: GuestPhysicalAddress, byteCount: Int, appendingTo bytes: inout [UInt8]
    ) -> Bool

    /// Writes all of `bytes`, or nothing and answers false if any byte has no memory.
    ///
    /// Ignores the guest's own write protection: this is the host's hand.
    func write(_ bytes: Span<UInt8>, at address: GuestPhysicalAddress) -> Bool
}

extension PhysicalMemory {
    /// The byte at `address`, or nil where no memory is; memory comes in whole words.
    package func readUInt8(at address: GuestPhysicalAddress) -> UInt8? {
        let word = readUInt64(at: GuestPhysicalAddress(address.rawValue & ~7))
        return word.map { UInt8(truncatingIfNeeded: $0 >> (8 * (address.rawValue & 7))) }
    }

    /// Writes `bytes`, or nothing and answers false if any byte has no memory.
    package func write(_ bytes: [UInt8], at address: GuestPhysicalAddress) -> Bool {
        write(bytes.span, at: address)
    }

    /// Writes `value` in little-endian order.
    package func writeUInt64(_ value: UInt64, at address: GuestPhysicalAddress) -> Bool {
        let bytes: [UInt8] = (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        return write(bytes, at: address)
    }
}
