import GuestModel

extension GuestLayout {
    /// More than any test or demonstration needs, little enough for every host.
    private static let bareImageBytesMax: UInt64 = 1 << 30
    private static let bareScratchBytesMin: UInt64 = 0x10000
    private static let bareScratchBytesMax: UInt64 = 1 << 30
    /// What has to be left for the stack beside the page tables.
    private static let bareStackBytesMin: UInt64 = 0x4000

    /// A freestanding guest: image and scratch identity mapped, page tables at the start of scratch,
    /// the stack at its end.
    ///
    /// The whole image span is read/write/execute, gaps between segments included.
    static func bare(_ file: ELFFile, options: GuestOptions) throws(GuestRejection) -> GuestLayout {
        let pageMask = ~UInt64(guestPageBytes - 1)
        let linkStart = file.firstAddress & pageMask
        let span = file.endAddress - linkStart
        guard span <= bareImageBytesMax else {
            throw .tooLarge(.image, byteCount: span, limit: bareImageBytesMax)
        }
        let imageBytes = pages(span)
        let start = file.header.isPositionIndependent ? imageBase : linkStart
        let scratchBytes = try bareScratchBytes(options.sizes.scratch)
        let scratchStart = scratchEnd - scratchBytes
        let (end, overflow) = start.addingReportingOverflow(imageBytes)
        guard !overflow, end <= scratchStart else {
            throw .imageOverlapsScratch(
                imageEnd: overflow ? .max : end, scratchStart: scratchStart)
        }
        let image = GuestRegion(
            start: GuestPhysicalAddress(start), byteCount: Int(imageBytes), isGuestWritable: true)
        let scratch = GuestRegion(
            start: GuestPhysicalAddress(scratchStart), byteCount: Int(scratchBytes),
            isGuestWritable: true)
        let tables = try bareTables(image: image, scratch: scratch)
        let loadBias = start &- linkStart
        var state = VCPUState(system: .longMode(pageTable: tables.start))
        state.general.rip = file.header.entry &+ loadBias
        state.general.rsp = scratchEnd - 8
        return GuestLayout(
            loadBias: loadBias, regions: [image, scratch], tables: tables, words: [], io: nil,
            state: state, areas: bareAreas(image: image, scratch: scratch, tables: tables))
    }

    private static func bareScratchBytes(_ configured: UInt64) throws(GuestRejection) -> UInt64 {
        guard configured % UInt64(guestPageBytes) == 0 else {
            throw .scratchNotWholePages(configured)
        }
        guard configured <= bareScratchBytesMax else {
            throw .tooLarge(.scratch, byteCount: configured, limit: bareScratchBytesMax)
        }
        return max(configured, bareScratchBytesMin)
    }

    private static func bareTables(
        image: GuestRegion, scratch: GuestRegion
    ) throws(GuestRejection) -> PageTables {
        var tables = PageTables(start: scratch.start)
        for (region, leaf) in [(image, PageTables.Leaf.writableExecutable), (scratch, .writable)] {
            tables.map(
                GuestVirtualAddress(region.start.rawValue), to: region.start,
                byteCount: UInt64(region.byteCount), as: leaf)
        }
        let minimum = tables.byteCount + bareStackBytesMin
        guard UInt64(scratch.byteCount) >= minimum else {
            throw .tooSmall(.scratch, byteCount: UInt64(scratch.byteCount), minimum: minimum)
        }
        return tables
    }
}
