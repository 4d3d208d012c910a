import GuestModel

// The names of a guest's memory. Names go with virtual addresses: a page that the guest has copied to
// another place is still heap.

extension HyperlightLayout {
    /// Where the guest's own kernel maps its descriptor tables and its stack.
    ///
    /// - Source: Hyperlight guest ABI 0.17, addresses that the guest itself maps.
    private static let processorControl: UInt64 = 0xFFFF_FD00_0000_0000
    private static let stackStart: UInt64 = 0xFFFF_FE00_0000_0000
    private static let stackBytes: UInt64 = 1 << 40
    private static let exceptionStackBytes: UInt64 = 3 * 4096

    /// In ascending order, without overlap.
    func areas(_ tables: PageTables) -> [MemoryArea] {
        let base = GuestLayout.imageBase
        let tablesStart = scratchVirtualStart + tablesOffset
        let freeStart = tablesStart + tables.byteCount
        let exceptionStack = scratchVirtualStart + sizes.scratch - Self.exceptionStackBytes
        return [
            MemoryArea("image", at: base, byteCount: pebOffset),
            MemoryArea("PEB", at: pebAddress, byteCount: UInt64(guestPageBytes)),
            MemoryArea("heap", at: base + heapOffset, byteCount: initDataOffset - heapOffset),
            MemoryArea(
                "init data", at: base + initDataOffset, byteCount: imageBytes - initDataOffset),
            MemoryArea(
                "descriptor tables", at: Self.processorControl,
                byteCount: 2 * UInt64(guestPageBytes)),
            MemoryArea("stack", at: Self.stackStart, byteCount: Self.stackBytes),
            MemoryArea("input buffer", at: scratchVirtualStart, byteCount: sizes.input),
            MemoryArea(
                "output buffer", at: scratchVirtualStart + sizes.input,
                byteCount: tablesOffset - sizes.input),
            MemoryArea("page tables", at: tablesStart, byteCount: tables.byteCount),
            MemoryArea("scratch", at: freeStart, byteCount: exceptionStack - freeStart),
            MemoryArea(
                "exception stack", at: exceptionStack, byteCount: Self.exceptionStackBytes),
        ].compactMap { $0 }
    }
}

extension GuestLayout {
    /// The names of a bare guest's memory, which is identity mapped.
    static func bareAreas(
        image: GuestRegion, scratch: GuestRegion, tables: PageTables
    ) -> [MemoryArea] {
        let stackBytes = UInt64(scratch.byteCount) - tables.byteCount
        return [
            MemoryArea("image", at: image.start.rawValue, byteCount: UInt64(image.byteCount)),
            MemoryArea("page tables", at: tables.start.rawValue, byteCount: tables.byteCount),
            MemoryArea("stack", at: tables.end.rawValue, byteCount: stackBytes),
        ].compactMap { $0 }
    }
}
