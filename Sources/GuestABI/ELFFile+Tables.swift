extension ELFFile {
    /// Reads the program headers: what to load, checked, and where PT_DYNAMIC lies.
    static func segments(
        _ image: Span<UInt8>, in table: ELFTable
    ) throws(GuestRejection) -> ([Segment], ELFTable?) {
        var segments: [Segment] = []
        var dynamic: ELFTable?
        for index in 0..<table.count {
            switch table.field(UInt32.self, of: index, at: 0, in: image) {
            case 1:
                let segment = try Self.segment(image, in: table, index: index)
                if let previous = segments.last, segment.start < previous.end {
                    throw .segmentNotAscending(
                        index: segment.index, start: segment.start, previousEnd: previous.end)
                }
                segments.append(segment)
            case 2:
                dynamic = try ELFTable(
                    .dynamic, offset: table.field(UInt64.self, of: index, at: 8, in: image),
                    entryBytes: 16,
                    count: table.field(UInt64.self, of: index, at: 32, in: image) / 16, limit: 4096,
                    fileBytes: UInt64(image.count))
            default:
                continue
            }
        }
        guard !segments.isEmpty else { throw .noLoadSegment }
        return (segments, dynamic)
    }

    private static func segment(
        _ image: Span<UInt8>, in table: ELFTable, index: UInt64
    ) throws(GuestRejection) -> Segment {
        let segment = Segment(
            index: Int(index),
            fileOffset: table.field(UInt64.self, of: index, at: 8, in: image),
            fileBytes: table.field(UInt64.self, of: index, at: 32, in: image),
            start: table.field(UInt64.self, of: index, at: 16, in: image),
            memoryBytes: table.field(UInt64.self, of: index, at: 40, in: image))
        let part = ELFPart.segment(segment.index)
        try ELFTable.check(
            part, offset: segment.fileOffset, byteCount: segment.fileBytes,
            fileBytes: UInt64(image.count))
        guard segment.fileBytes <= segment.memoryBytes else {
            throw .segmentFileLargerThanMemory(
                index: segment.index, fileBytes: segment.fileBytes,
                memoryBytes: segment.memoryBytes)
        }
        guard !segment.start.addingReportingOverflow(segment.memoryBytes).overflow else {
            throw .wraps(part, start: segment.start, byteCount: segment.memoryBytes)
        }
        return segment
    }

    /// Reads the section headers; those with bytes in the file (all but SHT_NULL and SHT_NOBITS)
    /// are known to lie inside it.
    static func sections(
        _ image: Span<UInt8>, in table: ELFTable?
    ) throws(GuestRejection) -> [Section] {
        guard let table else { return [] }
        var sections: [Section] = []
        for index in 0..<table.count {
            let section = Section(
                index: Int(index),
                nameOffset: table.field(UInt32.self, of: index, at: 0, in: image),
                type: table.field(UInt32.self, of: index, at: 4, in: image),
                flags: table.field(UInt64.self, of: index, at: 8, in: image),
                address: table.field(UInt64.self, of: index, at: 16, in: image),
                fileOffset: table.field(UInt64.self, of: index, at: 24, in: image),
                byteCount: table.field(UInt64.self, of: index, at: 32, in: image),
                entryBytes: table.field(UInt64.self, of: index, at: 56, in: image))
            if section.type != 0 && section.type != 8 {
                try ELFTable.check(
                    .section(section.index), offset: section.fileOffset,
                    byteCount: section.byteCount, fileBytes: UInt64(image.count))
            }
            sections.append(section)
        }
        return sections
    }
}
