// GuestABI: what a host has to know about a guest image to run it.
//
// Checks an ELF file, lays out guest memory, builds page tables and the first registers, and speaks
// the messages of the Hyperlight 0.17 ABI. Everything here is pure: memory is whatever implements
// `PhysicalMemory`, nothing opens a file or runs a vCPU.
//
// Every image and every byte of guest memory is hostile: offsets are checked before use, sums with
// overflow checks, sizes before allocation.
//
// Start here: `GuestPlan(image:options:)` computes what memory is needed, `load` fills it. The two
// ABIs differ in `GuestLayout+Hyperlight.swift` and `GuestLayout+Bare.swift`.

package import GuestModel

/// Everything about one guest that can be computed before any memory exists.
package struct GuestPlan: Sendable {
    /// The memory to provide, the image first, then scratch, without overlap.
    package let regions: [GuestRegion]
    package let entry: GuestVirtualAddress
    /// Load address minus link address, modulo 2^64.
    package let loadBias: UInt64
    /// Link address of the first PT_LOAD.
    package let firstSegmentAddress: UInt64
    package let abi: GuestABIName
    /// The message buffers; nil for a bare guest.
    package let io: GuestIOLayout?
    /// Names of what lies at which virtual addresses, in ascending order, without overlap.
    package var areas: [MemoryArea] { layout.areas }

    private let file: ELFFile
    private let relocations: [Relocation]
    private let layout: GuestLayout

    /// Checks `image`, which is a whole ELF file, and computes the rest.
    ///
    /// - Throws: why this image, or this image with these options, cannot be loaded.
    package init(image: Span<UInt8>, options: GuestOptions) throws(GuestRejection) {
        let file = try ELFFile(image)
        switch options.abi {
        case .hyperlight:
            try file.checkVersion(image, options: options)
            layout = try .hyperlight(file, options: options)
        case .bare:
            layout = try .bare(file, options: options)
        }
        relocations = try file.relocations(image)
        self.file = file
        abi = options.abi
        io = layout.io
        regions = layout.regions
        loadBias = layout.loadBias
        entry = GuestVirtualAddress(layout.state.general.rip)
        firstSegmentAddress = file.firstAddress
    }

    /// Writes image, relocations, page tables and the ABI's words into `memory`.
    ///
    /// - Parameters:
    ///   - image: the file the plan was made from.
    ///   - memory: covers `regions` and is zero.
    ///   - seed: random bits for a Hyperlight guest; a bare guest gets none.
    /// - Returns: the registers at entry.
    /// - Throws: when `image` is not the one the plan was made from, or memory is missing.
    package func load(
        image: Span<UInt8>, into memory: some PhysicalMemory, seed: UInt64
    ) throws(GuestRejection) -> VCPUState {
        guard UInt64(image.count) == file.fileBytes else {
            throw .imageChanged(fileBytes: UInt64(image.count), expected: file.fileBytes)
        }
        for segment in file.segments where segment.fileBytes > 0 {
            let start = Int(segment.fileOffset)
            let bytes = image.extracting(start..<start + Int(segment.fileBytes))
            let address = GuestPhysicalAddress(segment.start &+ loadBias)
            guard memory.write(bytes, at: address) else { throw .noMemory(at: address) }
        }
        for relocation in relocations {
            try Self.write(
                relocation.addend &+ loadBias,
                at: GuestPhysicalAddress(relocation.place &+ loadBias), to: memory)
        }
        try writeTables(to: memory)
        for word in layout.words {
            try Self.write(word.value, at: word.address, to: memory)
        }
        var state = layout.state
        if abi == .hyperlight {
            state.general.rsi = seed
        }
        return state
    }

    private func writeTables(to memory: some PhysicalMemory) throws(GuestRejection) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(layout.tables.entries.count * 8)
        for entry in layout.tables.entries {
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: entry >> shift))
            }
        }
        guard memory.write(bytes, at: layout.tables.start) else {
            throw .noMemory(at: layout.tables.start)
        }
    }

    private static func write(
        _ value: UInt64, at address: GuestPhysicalAddress, to memory: some PhysicalMemory
    ) throws(GuestRejection) {
        guard memory.writeUInt64(value, at: address) else { throw .noMemory(at: address) }
    }
}
