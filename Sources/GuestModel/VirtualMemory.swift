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

/// Writes all of `bytes` at `start`, or nothing and answers false when a page is not mapped or has
/// no memory.
///
/// Page protection is ignored: this is the debugger's hand.
package func writeVirtual(
    _ bytes: Span<UInt8>, at start: GuestVirtualAddress, system: SystemRegisters,
    memory: some PhysicalMemory
) -> Bool {
    guard let range = GuestVirtualRange(start: start, byteCount: bytes.count) else { return false }
    guard isBacked(range, system: system, memory: memory) else { return false }
    var done = 0
    while done < range.byteCount {
        let address = GuestVirtualAddress(start.rawValue + UInt64(done))
        guard let piece = PageWalk.translate(address, system: system, memory: memory) else {
            return false
        }
        let count = min(range.byteCount - done, guestPageBytes - address.pageOffset)
        let part = bytes.extracting(done..<done + count)
        guard memory.write(part, at: piece.physicalAddress) else { return false }
        done += count
    }
    return true
}

/// Whether every page of `range` is mapped to a page that has memory.
private func isBacked(
    _ range: GuestVirtualRange, system: SystemRegisters, memory: some PhysicalMemory
) -> Bool {
    var done = 0
    while done < range.byteCount {
        let address = GuestVirtualAddress(range.start.rawValue + UInt64(done))
        guard let piece = PageWalk.translate(address, system: system, memory: memory) else {
            return false
        }
        // Memory comes in whole pages: the page's first word stands for all of it.
        let page = piece.physicalAddress.rawValue & ~UInt64(guestPageBytes - 1)
        guard memory.readUInt64(at: GuestPhysicalAddress(page)) != nil else { return false }
        done += guestPageBytes - address.pageOffset
    }
    return true
}
