/// One R_X86_64_RELATIVE: the 64-bit word at `place` becomes load bias + `addend`.
struct Relocation: Hashable, Sendable {
    /// A link address; all eight bytes lie inside the image.
    let place: UInt64
    let addend: UInt64
}

extension ELFFile {
    /// Real guests have about 5,000.
    private static var relocationsMax: UInt64 { 1 << 20 }

    /// The dynamic relocations, from the section headers if there are any, else from PT_DYNAMIC.
    ///
    /// - Throws: when one is not RELATIVE (or NONE, which is left out), when it would change bytes
    ///   outside the image, or when a table has another form than RELA.
    /// - Source: x86-64 psABI, "Relocation Types".
    func relocations(_ image: Span<UInt8>) throws(GuestRejection) -> [Relocation] {
        var relocations: [Relocation] = []
        var number = -1
        for table in try relocationTables(image) {
            for index in 0..<table.count {
                number += 1
                let place = table.field(UInt64.self, of: index, at: 0, in: image)
                let info = table.field(UInt64.self, of: index, at: 8, in: image)
                switch UInt32(truncatingIfNeeded: info) {
                case 0: continue
                case 8: break
                case let type: throw .relocationType(index: number, type: type)
                }
                guard place >= firstAddress, place < endAddress, endAddress - place >= 8 else {
                    throw .relocationOutside(index: number, place: place)
                }
                let addend = table.field(UInt64.self, of: index, at: 16, in: image)
                relocations.append(Relocation(place: place, addend: addend))
            }
        }
        return relocations
    }

    private func relocationTables(_ image: Span<UInt8>) throws(GuestRejection) -> [ELFTable] {
        guard sections.isEmpty else { return try sectionRelocationTables() }
        guard let dynamic else { return [] }
        return try dynamicRelocationTables(dynamic, image)
    }

    private func sectionRelocationTables() throws(GuestRejection) -> [ELFTable] {
        var tables: [ELFTable] = []
        var total: UInt64 = 0
        for section in sections where section.isAllocated {
            switch section.type {
            case 9: throw .relocationForm("REL")
            case 19: throw .relocationForm("RELR")
            case 4: break
            default: continue
            }
            guard section.entryBytes == 24 else {
                throw .wrongEntrySize(.relocations, found: section.entryBytes, expected: 24)
            }
            let table = try relocationTable(
                offset: section.fileOffset, byteCount: section.byteCount)
            // Sections may name the same bytes again and again: bound the sum, not each.
            total += table.count
            guard total <= Self.relocationsMax else {
                throw .tooManyEntries(.relocations, count: total, limit: Self.relocationsMax)
            }
            tables.append(table)
        }
        return tables
    }

    private func dynamicRelocationTables(
        _ dynamic: ELFTable, _ image: Span<UInt8>
    ) throws(GuestRejection) -> [ELFTable] {
        var address: UInt64?
        var byteCount: UInt64 = 0
        loop: for index in 0..<dynamic.count {
            let value = dynamic.field(UInt64.self, of: index, at: 8, in: image)
            switch dynamic.field(UInt64.self, of: index, at: 0, in: image) {
            case 0: break loop
            case 7: address = value
            case 8: byteCount = value
            case 9:
                guard value == 24 else {
                    throw .wrongEntrySize(.relocations, found: value, expected: 24)
                }
            case 17: throw .relocationForm("REL")
            case 36: throw .relocationForm("RELR")
            default: continue
            }
        }
        guard let address, byteCount > 0 else { return [] }
        guard
            let segment = segments.first(where: {
                address >= $0.start && address - $0.start < $0.fileBytes
            })
        else { throw .relocationOutside(index: 0, place: address) }
        let offset = segment.fileOffset + (address - segment.start)
        return [try relocationTable(offset: offset, byteCount: byteCount)]
    }

    private func relocationTable(
        offset: UInt64, byteCount: UInt64
    ) throws(GuestRejection) -> ELFTable {
        try ELFTable(
            .relocations, offset: offset, entryBytes: 24, count: byteCount / 24,
            limit: Self.relocationsMax, fileBytes: fileBytes)
    }
}
