/// Appends what `range` holds to `bytes`, up to the first page that is not mapped or has no memory.
///
/// Allocates nothing but room in `bytes`; the caller bounds the range.
/// - Returns: how many bytes were appended.
package func readVirtual(
    _ range: GuestVirtualRange, system: SystemRegisters, memory: some PhysicalMemory,
    appendingTo bytes: inout [UInt8]
) -> Int {
    var done = 0
    while done < range.byteCount {
        let address = GuestVirtualAddress(range.start.rawValue + UInt64(done))
        guard let piece = PageWalk.translate(address, system: system, memory: memory) else { break }
        // A large page may reach beyond the end of memory: go on in 4 KiB steps.
        let count = min(range.byteCount - done, guestPageBytes - address.pageOffset)
        guard memory.read(at: piece.physicalAddress, byteCount: count, appendingTo: &bytes) else {
            break
        }
        done += count
    }
    return done
}

/// The little-endian word at `address`, or nil when it is not all in one page that has memory.
package func readVirtualUInt64(
    at address: GuestVirtualAddress, system: SystemRegisters, memory: some PhysicalMemory
) -> UInt64? {
    guard address.pageOffset <= guestPageBytes - 8,
        let place = PageWalk.translate(address, system: system, memory: memory)
    else { return nil }
    return memory.readUInt64(at: place.physicalAddress)
}

/// Writes all of `bytes` at `start`, or nothing and answers false when a page is not mapped or has
/// no memory.
///
/// Page protection is ignored: this is the debugger's hand. All addresses are translated before the
/// first byte is written, because what is written may be the guest's page tables.
package func writeVirtual(
    _ bytes: Span<UInt8>, at start: GuestVirtualAddress, system: SystemRegisters,
    memory: some PhysicalMemory
) -> Bool {
    guard let range = GuestVirtualRange(start: start, byteCount: bytes.count),
        let pieces = backedPieces(of: range, system: system, memory: memory)
    else { return false }
    var done = 0
    for piece in pieces {
        let part = bytes.extracting(done..<done + piece.byteCount)
        guard memory.write(part, at: piece.start) else { return false }
        done += piece.byteCount
    }
    return true
}

/// Where the parts of `range` lie, page by page; nil if any page is not mapped or has no memory.
private func backedPieces(
    of range: GuestVirtualRange, system: SystemRegisters, memory: some PhysicalMemory
) -> [(start: GuestPhysicalAddress, byteCount: Int)]? {
    var pieces: [(start: GuestPhysicalAddress, byteCount: Int)] = []
    var done = 0
    while done < range.byteCount {
        let address = GuestVirtualAddress(range.start.rawValue + UInt64(done))
        guard let found = PageWalk.translate(address, system: system, memory: memory) else {
            return nil
        }
        // Memory comes in whole pages: the page's first word stands for all of it.
        let page = found.physicalAddress.rawValue & ~UInt64(guestPageBytes - 1)
        guard memory.readUInt64(at: GuestPhysicalAddress(page)) != nil else { return nil }
        let byteCount = min(range.byteCount - done, guestPageBytes - address.pageOffset)
        pieces.append((found.physicalAddress, byteCount))
        done += byteCount
    }
    return pieces
}
