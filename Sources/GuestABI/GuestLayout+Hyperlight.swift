import GuestModel

/// Offsets and addresses of a Hyperlight 0.17 guest's memory; pure arithmetic on checked sizes.
///
/// - Source: Hyperlight guest ABI 0.17, memory layout.
struct HyperlightLayout: Sendable {
    /// Image and scratch may each be this large.
    static let sizeMax: UInt64 = (16 << 30) - GuestLayout.imageBase
    private static let bufferBytesMin: UInt64 = 0x2000
    /// The host maps scratch memory so that it ends here.
    private static let scratchVirtualEnd: UInt64 = 0xFFFF_FFFF_FFFF_F000
    static let exceptionStackTop: UInt64 = 0xFFFF_FFFF_FFFF_EFD0

    let sizes: GuestMemorySizes
    let codeBytes: UInt64
    let initDataBytes: UInt64

    /// Offsets in the image.
    let pebOffset: UInt64
    let heapOffset: UInt64
    let initDataOffset: UInt64
    let imageBytes: UInt64

    /// - Throws: `.tooSmall`, `.tooLarge` or `.scratchNotWholePages`.
    init(
        codeBytes: UInt64, sizes: GuestMemorySizes, initDataBytes: UInt64 = 0
    ) throws(GuestRejection) {
        try Self.check(codeBytes: codeBytes, sizes: sizes, initDataBytes: initDataBytes)
        self.sizes = sizes
        self.codeBytes = codeBytes
        self.initDataBytes = initDataBytes
        pebOffset = GuestLayout.pages(codeBytes)
        heapOffset = GuestLayout.pages(pebOffset + 64)
        initDataOffset = GuestLayout.pages(heapOffset + sizes.heap)
        imageBytes = GuestLayout.pages(initDataOffset + initDataBytes)
        guard imageBytes <= Self.sizeMax else {
            throw .tooLarge(.image, byteCount: imageBytes, limit: Self.sizeMax)
        }
    }

    private static func check(
        codeBytes: UInt64, sizes: GuestMemorySizes, initDataBytes: UInt64
    ) throws(GuestRejection) {
        for (part, size) in [(GuestMemoryPart.input, sizes.input), (.output, sizes.output)] {
            guard size >= bufferBytesMin else {
                throw .tooSmall(part, byteCount: size, minimum: bufferBytesMin)
            }
        }
        for size in [codeBytes, sizes.heap, initDataBytes] where size > sizeMax {
            throw .tooLarge(.image, byteCount: size, limit: sizeMax)
        }
        for (part, size) in [
            (GuestMemoryPart.scratch, sizes.scratch), (.input, sizes.input),
            (.output, sizes.output),
        ] where size > sizeMax {
            throw .tooLarge(part, byteCount: size, limit: sizeMax)
        }
        guard sizes.scratch % UInt64(guestPageBytes) == 0 else {
            throw .scratchNotWholePages(sizes.scratch)
        }
    }

    var scratchStart: UInt64 { GuestLayout.scratchEnd - sizes.scratch }
    var scratchVirtualStart: UInt64 { Self.scratchVirtualEnd - sizes.scratch }
    var tablesOffset: UInt64 { GuestLayout.pages(sizes.input + sizes.output) }
    var pebAddress: UInt64 { GuestLayout.imageBase + pebOffset }

    /// What `pageTables` will take: image and scratch are one piece each and share no table but the
    /// first.
    var tableBytes: UInt64 {
        var count: UInt64 = 1
        let pieces = [(GuestLayout.imageBase, imageBytes), (scratchVirtualStart, sizes.scratch)]
        for (start, byteCount) in pieces where byteCount > 0 {
            let last = start + byteCount - 1
            for shift in [UInt64(39), 30, 21] { count += (last >> shift) - (start >> shift) + 1 }
        }
        return count * UInt64(guestPageBytes)
    }

    /// - Throws: `.tooSmall` when scratch cannot hold buffers, tables and what a guest needs to boot.
    func pageTables() throws(GuestRejection) -> PageTables {
        // First of all: tables of a huge image take long to make, and must not wrap below scratch.
        let minimum = tablesOffset + 12 * UInt64(guestPageBytes) + tableBytes
        guard sizes.scratch >= minimum else {
            throw .tooSmall(.scratch, byteCount: sizes.scratch, minimum: minimum)
        }
        let base = GuestLayout.imageBase
        var tables = PageTables(start: GuestPhysicalAddress(scratchStart + tablesOffset))
        func mapImage(_ offset: UInt64, _ byteCount: UInt64, _ leaf: PageTables.Leaf) {
            tables.map(
                GuestVirtualAddress(base + offset), to: GuestPhysicalAddress(base + offset),
                byteCount: byteCount, as: leaf)
        }
        mapImage(0, codeBytes, .copyOnWriteExecutable)
        mapImage(pebOffset, 64, .readOnly)
        mapImage(heapOffset, sizes.heap, .copyOnWrite)
        mapImage(initDataOffset, initDataBytes, .readOnly)
        tables.map(
            GuestVirtualAddress(scratchVirtualStart), to: GuestPhysicalAddress(scratchStart),
            byteCount: sizes.scratch, as: .writable)
        return tables
    }

    /// The eight words of the process environment block.
    var peb: [UInt64] {
        let base = GuestLayout.imageBase
        return [
            sizes.input, scratchVirtualStart, sizes.output, scratchVirtualStart + sizes.input,
            initDataBytes, base + initDataOffset, sizes.heap, base + heapOffset,
        ]
    }

    /// Message buffers, both empty at first.
    var io: GuestIOLayout {
        GuestIOLayout(
            input: GuestBuffer(
                start: GuestPhysicalAddress(scratchStart), byteCount: sizes.input),
            output: GuestBuffer(
                start: GuestPhysicalAddress(scratchStart + sizes.input), byteCount: sizes.output))
    }
}

extension GuestLayout {
    static func hyperlight(
        _ file: ELFFile, options: GuestOptions
    ) throws(GuestRejection) -> GuestLayout {
        guard file.firstAddress == 0 else { throw .firstSegmentNotAtZero(file.firstAddress) }
        guard options.logLevel <= 5 else { throw .logLevelOutOfRange(options.logLevel) }
        let layout = try HyperlightLayout(codeBytes: file.endAddress, sizes: options.sizes)
        let tables = try layout.pageTables()
        var state = VCPUState(system: .longMode(pageTable: tables.start))
        state.general.rip = imageBase + file.header.entry
        state.general.rsp = HyperlightLayout.exceptionStackTop - 8
        state.general.rdi = layout.pebAddress
        state.general.rdx = UInt64(guestPageBytes)
        state.general.rcx = options.logLevel
        return GuestLayout(
            loadBias: imageBase,
            regions: [
                GuestRegion(
                    start: GuestPhysicalAddress(imageBase), byteCount: Int(layout.imageBytes),
                    isGuestWritable: false),
                GuestRegion(
                    start: GuestPhysicalAddress(layout.scratchStart),
                    byteCount: Int(layout.sizes.scratch), isGuestWritable: true),
            ],
            tables: tables, words: words(layout, tables), io: layout.io, state: state,
            areas: layout.areas(tables))
    }

    /// PEB, stack pointers of the two buffers, and the bookkeeping words at the top of scratch.
    private static func words(_ layout: HyperlightLayout, _ tables: PageTables) -> [Word] {
        var words = layout.peb.enumerated().map { index, value in
            Word(
                address: GuestPhysicalAddress(layout.pebAddress + 8 * UInt64(index)), value: value)
        }
        words.append(Word(address: layout.io.input.start, value: 8))
        words.append(Word(address: layout.io.output.start, value: 8))
        let top: [(UInt64, UInt64)] = [
            (0x28, 0),  // no reseed request
            (0x20, 0),  // generation of a fresh guest
            (0x18, tables.start.rawValue),
            (0x10, tables.end.rawValue),  // the allocator's first free page
            (0x08, layout.sizes.scratch),
        ]
        for (distance, value) in top {
            words.append(
                Word(address: GuestPhysicalAddress(scratchEnd - distance), value: value))
        }
        return words
    }
}
