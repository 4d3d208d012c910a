/// The headers of a guest image, checked against the size of the file they came from.
///
/// Holds numbers only, no bytes of the image. The image is hostile: after `init` every segment is
/// known to lie inside the file, to ascend and not to wrap.
///
/// - Source: System V ABI, "Object Files" and "Program Loading".
struct ELFFile: Sendable {
    /// One PT_LOAD; `index` counts all program headers.
    struct Segment: Sendable {
        let index: Int
        let fileOffset: UInt64
        let fileBytes: UInt64
        let start: UInt64
        let memoryBytes: UInt64

        var end: UInt64 { start + memoryBytes }
    }

    struct Section: Sendable {
        let index: Int
        let nameOffset: UInt32
        let type: UInt32
        let flags: UInt64
        let address: UInt64
        let fileOffset: UInt64
        let byteCount: UInt64
        let entryBytes: UInt64

        var isAllocated: Bool { flags & 2 != 0 }
    }

    let header: ELFHeader
    let fileBytes: UInt64
    /// Ascending, without overlap, never empty.
    let segments: [Segment]
    /// Where PT_DYNAMIC lies in the file.
    let dynamic: ELFTable?
    /// Empty when the file has no section headers.
    let sections: [Section]

    init(_ image: Span<UInt8>) throws(GuestRejection) {
        header = try ELFHeader(image)
        fileBytes = UInt64(image.count)
        (segments, dynamic) = try Self.segments(image, in: header.programHeaders)
        sections = try Self.sections(image, in: header.sectionHeaders)
        guard isInSegment(header.entry) else { throw .entryOutside(header.entry) }
    }

    /// The address of the first segment's first byte.
    var firstAddress: UInt64 { segments.first?.start ?? 0 }

    /// The address behind the last segment's last byte.
    var endAddress: UInt64 { segments.last?.end ?? 0 }

    private func isInSegment(_ address: UInt64) -> Bool {
        segments.contains { address >= $0.start && address < $0.end }
    }
}

/// Entries of one size in a row, known to lie inside the file.
struct ELFTable: Sendable {
    let offset: UInt64
    let entryBytes: UInt64
    let count: UInt64

    /// Checks that `byteCount` bytes at `offset` lie inside a file of `fileBytes` bytes; nothing
    /// may lie anywhere.
    static func check(
        _ part: ELFPart, offset: UInt64, byteCount: UInt64, fileBytes: UInt64
    ) throws(GuestRejection) {
        guard byteCount > 0 else { return }
        let (end, overflow) = offset.addingReportingOverflow(byteCount)
        guard !overflow else { throw .wraps(part, start: offset, byteCount: byteCount) }
        guard end <= fileBytes else { throw .beyondFile(part, end: end, fileBytes: fileBytes) }
    }

    /// - Throws: `.beyondFile`, `.wraps` or `.tooManyEntries` (more than `limit`).
    init(
        _ part: ELFPart, offset: UInt64, entryBytes: UInt64, count: UInt64, limit: UInt64,
        fileBytes: UInt64
    ) throws(GuestRejection) {
        guard count <= limit else { throw .tooManyEntries(part, count: count, limit: limit) }
        try Self.check(
            part, offset: offset, byteCount: count * entryBytes, fileBytes: fileBytes)
        self.offset = offset
        self.entryBytes = entryBytes
        self.count = count
    }

    /// The field at `field` of entry `index`, both inside the table.
    func field<Value: FixedWidthInteger & UnsignedInteger>(
        _ type: Value.Type, of index: UInt64, at field: UInt64, in image: Span<UInt8>
    ) -> Value {
        // Zero cannot come back: the table was checked against the same image.
        image.littleEndian(type, at: offset + index * entryBytes + field) ?? 0
    }
}
