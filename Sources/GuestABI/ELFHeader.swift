/// The first 64 bytes of a guest image.
///
/// - Source: System V ABI, "ELF Header".
struct ELFHeader: Sendable {
    private static let byteCount: UInt64 = 64
    private static let programHeaderBytes: UInt64 = 56
    private static let sectionHeaderBytes: UInt64 = 64
    /// Real guests have about ten program headers and fifty sections.
    private static let programHeadersMax: UInt64 = 256
    private static let sectionHeadersMax: UInt64 = 4096

    /// ET_DYN; otherwise ET_EXEC.
    let isPositionIndependent: Bool
    let entry: UInt64
    let programHeaders: ELFTable
    /// Nil when the file has none.
    let sectionHeaders: ELFTable?
    let sectionNamesIndex: Int

    init(_ image: Span<UInt8>) throws(GuestRejection) {
        try Self.checkIdentification(image)
        let fileBytes = UInt64(image.count)
        guard fileBytes >= Self.byteCount else {
            throw .beyondFile(.header, end: Self.byteCount, fileBytes: fileBytes)
        }
        func field<Value: FixedWidthInteger & UnsignedInteger>(
            _ type: Value.Type, _ offset: UInt64
        ) -> Value {
            image.littleEndian(type, at: offset) ?? 0
        }
        let type = field(UInt16.self, 16)
        let machine = field(UInt16.self, 18)
        guard machine == 62 else { throw .wrongMachine(machine) }
        guard type == 2 || type == 3 else { throw .wrongType(type) }
        isPositionIndependent = type == 3
        entry = field(UInt64.self, 24)
        sectionNamesIndex = Int(field(UInt16.self, 62))
        programHeaders = try Self.table(
            .programHeaders, offset: field(UInt64.self, 32), entryBytes: field(UInt16.self, 54),
            expected: Self.programHeaderBytes, count: field(UInt16.self, 56),
            limit: Self.programHeadersMax, fileBytes: fileBytes)
        let sectionCount = field(UInt16.self, 60)
        sectionHeaders =
            sectionCount == 0
            ? nil
            : try Self.table(
                .sectionHeaders, offset: field(UInt64.self, 40), entryBytes: field(UInt16.self, 58),
                expected: Self.sectionHeaderBytes, count: sectionCount,
                limit: Self.sectionHeadersMax, fileBytes: fileBytes)
    }

    private static func checkIdentification(_ image: Span<UInt8>) throws(GuestRejection) {
        guard image.littleEndian(UInt32.self, at: 0) == 0x464C_457F else { throw .notELF }
        guard image.count >= 16 else {
            throw .beyondFile(.header, end: byteCount, fileBytes: UInt64(image.count))
        }
        guard image[4] == 2 else { throw .not64Bit }
        guard image[5] == 1 else { throw .notLittleEndian }
    }

    private static func table(
        _ part: ELFPart, offset: UInt64, entryBytes: UInt16, expected: UInt64, count: UInt16,
        limit: UInt64, fileBytes: UInt64
    ) throws(GuestRejection) -> ELFTable {
        guard count == 0 || UInt64(entryBytes) == expected else {
            throw .wrongEntrySize(part, found: UInt64(entryBytes), expected: expected)
        }
        return try ELFTable(
            part, offset: offset, entryBytes: expected, count: UInt64(count), limit: limit,
            fileBytes: fileBytes)
    }
}
