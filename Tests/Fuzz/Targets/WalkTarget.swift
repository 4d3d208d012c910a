import GuestModel

private let memoryStart: UInt64 = 0x10_0000
private let pageCount = 12

/// Walks and copies through tables that the input made; memory is twelve pages.
func walkMistakes(_ input: [UInt8]) -> [String] {
    var reader = InputReader(input)
    let system = system(&reader)
    let address = GuestVirtualAddress(reader.number())
    let byteCount = Int(reader.byte()) << 6 | Int(reader.byte())
    let content = tables(&reader)
    return translationMistakes(address, system, content)
        + copyMistakes(address, byteCount, system, content)
        + regionMistakes(address, entriesMax: byteCount, system, content)
}

private func regionMistakes(
    _ address: GuestVirtualAddress, entriesMax: Int, _ system: SystemRegisters,
    _ content: [UInt8]
) -> [String] {
    let memory = memory(content)
    var walk = RegionWalk(system: system, memory: memory)
    guard let region = walk.region(around: address, entriesMax: entriesMax) else {
        return ["an address in no region"]
    }
    var mistakes: [String] = []
    if address < region.start || address > region.last { mistakes.append("another region") }
    // The last walk of each direction may be begun; a leaf is looked at behind its entry.
    if memory.wordReads > 3 * (2 * entriesMax + 12) {
        mistakes.append("\(memory.wordReads) words read for \(entriesMax) entries")
    }
    let mode = PagingMode(system)
    guard mode != .off else { return mistakes }
    let found = PageWalk.translate(address, system: system, memory: memory)
    let isThere = found.map { memory.readUInt64(at: $0.physicalAddress.wordStart) != nil } ?? false
    if isThere != (region.permissions != nil) {
        mistakes.append("mapped for one, a hole for the other")
    }
    return mistakes
}

extension GuestPhysicalAddress {
    fileprivate var wordStart: GuestPhysicalAddress { GuestPhysicalAddress(rawValue & ~7) }
}

private func translationMistakes(
    _ address: GuestVirtualAddress, _ system: SystemRegisters, _ content: [UInt8]
) -> [String] {
    let memory = memory(content)
    let found = PageWalk.translate(address, system: system, memory: memory)
    var mistakes: [String] = []
    if memory.wordReads > 4 { mistakes.append("a walk of \(memory.wordReads) words") }
    if let found {
        let mask = UInt64(found.pageByteCount - 1)
        if found.physicalAddress.rawValue & mask != address.rawValue & mask {
            mistakes.append("the offset in the page changed")
        }
        if found.physicalAddress.rawValue >> 52 != 0 { mistakes.append("more than 52 bits") }
        if !(1...found.pageByteCount).contains(found.bytesToPageEnd) {
            mistakes.append("\(found.bytesToPageEnd) bytes to the page's end")
        }
    }
    return mistakes
}

private func copyMistakes(
    _ address: GuestVirtualAddress, _ byteCount: Int, _ system: SystemRegisters,
    _ content: [UInt8]
) -> [String] {
    guard let range = GuestVirtualRange(start: address, byteCount: byteCount) else { return [] }
    var mistakes: [String] = []
    let memory = memory(content)
    var bytes: [UInt8] = []
    let count = readVirtual(range, system: system, memory: memory, appendingTo: &bytes)
    if count != bytes.count || count > byteCount {
        mistakes.append("read \(count) of \(byteCount)")
    }
    let written = [UInt8](repeating: 0xA5, count: byteCount)
    let isWritten = writeVirtual(written.span, at: address, system: system, memory: memory)
    if isWritten != (count == byteCount) { mistakes.append("what can be read cannot be written") }
    if !isWritten, memory.regions[0].bytes != content {
        mistakes.append("a refused write wrote something")
    }
    return mistakes
}

private func memory(_ content: [UInt8]) -> ArrayMemory {
    ArrayMemory([ArrayMemory.Region(start: memoryStart, bytes: content)])
}

/// Long mode as a guest has it, or with the bits that the input changes.
private func system(_ reader: inout InputReader) -> SystemRegisters {
    var system = SystemRegisters.longMode(pageTable: GuestPhysicalAddress(memoryStart))
    let flags = reader.byte()
    if flags & 1 != 0 { system.cr3 = reader.number() }
    if flags & 2 != 0 { system.efer ^= 1 << UInt64(reader.byte() % 16) }
    if flags & 4 != 0 { system.cr4 ^= 1 << UInt64(reader.byte() % 32) }
    if flags & 8 != 0 { system.cr0 ^= 1 << UInt64(reader.byte() % 32) }
    return system
}

/// Entries at chosen places: page, slot, then the page it leads to and its flags, or any word.
private func tables(_ reader: inout InputReader) -> [UInt8] {
    var content = [UInt8](repeating: 0, count: pageCount * guestPageBytes)
    while !reader.isAtEnd {
        let kind = reader.byte()
        let page = Int(reader.byte()) % pageCount
        let slot = Int(reader.byte()) | (kind & 1 == 0 ? 0 : 256)
        let entry =
            kind & 2 == 0
            ? (memoryStart + UInt64(reader.byte() % 16) << 12) | UInt64(reader.byte())
            : reader.number()
        for index in 0..<8 {
            content[page * guestPageBytes + slot * 8 + index] = UInt8(
                truncatingIfNeeded: entry >> UInt64(8 * index))
        }
    }
    return content
}
