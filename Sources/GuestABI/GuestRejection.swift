package import GuestModel

/// Why a guest image is not loaded; `description` is one line with the place and the numbers.
///
/// Segments, sections and relocations are numbered as `readelf` numbers them, from zero.
package enum GuestRejection: Error, Hashable, Sendable {
    case notELF
    case not64Bit
    case notLittleEndian
    case wrongMachine(UInt16)
    case wrongType(UInt16)
    /// Something the file promises lies behind its end.
    case beyondFile(ELFPart, end: UInt64, fileBytes: UInt64)
    /// Start plus size does not fit in 64 bits.
    case wraps(ELFPart, start: UInt64, byteCount: UInt64)
    case wrongEntrySize(ELFPart, found: UInt64, expected: UInt64)
    case tooManyEntries(ELFPart, count: UInt64, limit: UInt64)

    case noLoadSegment
    case segmentFileLargerThanMemory(index: Int, fileBytes: UInt64, memoryBytes: UInt64)
    /// Segments overlap or descend.
    case segmentNotAscending(index: Int, start: UInt64, previousEnd: UInt64)
    case firstSegmentNotAtZero(UInt64)
    case entryOutside(UInt64)

    case relocationType(index: Int, type: UInt32)
    case relocationOutside(index: Int, place: UInt64)
    /// A table of another form than RELA, which would be ignored silently otherwise.
    case relocationForm(String)

    case noVersionNote(accepted: [String])
    case versionNoteMalformed
    case wrongVersion(String, accepted: [String])

    case tooLarge(GuestMemoryPart, byteCount: UInt64, limit: UInt64)
    case tooSmall(GuestMemoryPart, byteCount: UInt64, minimum: UInt64)
    case imageOverlapsScratch(imageEnd: UInt64, scratchStart: UInt64)
    case scratchNotWholePages(UInt64)
    case logLevelOutOfRange(UInt64)

    /// The file has another size than the one the plan was made from.
    case imageChanged(fileBytes: UInt64, expected: UInt64)
    /// The memory handed in lacks a place that the plan's regions cover.
    case noMemory(at: GuestPhysicalAddress)
}

/// The part of an ELF file that a rejection is about.
package enum ELFPart: Hashable, Sendable, CustomStringConvertible {
    case header
    case programHeaders
    case sectionHeaders
    case sectionNames
    case relocations
    case dynamic
    case versionNote
    case segment(Int)
    case section(Int)

    package var description: String {
        switch self {
        case .header: "ELF header"
        case .programHeaders: "program headers"
        case .sectionHeaders: "section headers"
        case .sectionNames: "section names"
        case .relocations: "relocations"
        case .dynamic: "dynamic segment"
        case .versionNote: "version note"
        case .segment(let index): "segment \(index)"
        case .section(let index): "section \(index)"
        }
    }
}

/// The part of a guest's memory whose size a rejection is about.
package enum GuestMemoryPart: String, Hashable, Sendable {
    case image
    case scratch = "scratch memory"
    case input = "input buffer"
    case output = "output buffer"
}

extension GuestRejection: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notELF: "not an ELF file"
        case .not64Bit: "a 32-bit ELF file; guests are 64-bit"
        case .notLittleEndian: "a big-endian ELF file; guests are x86-64"
        case .wrongMachine(let machine): "for machine \(machine); guests are x86-64 (62)"
        case .wrongType(let type):
            "ELF type \(type) is neither an executable (2) nor position independent (3)"
        case .beyondFile(let part, let end, let bytes):
            "\(part): ends at \(hex(end)) beyond the file (\(hex(bytes)))"
        case .wraps(let part, let start, let count):
            "\(part): \(hex(start)) plus \(hex(count)) does not fit in 64 bits"
        case .wrongEntrySize(let part, let found, let expected):
            "\(part): entries of \(found) bytes, not \(expected)"
        case .tooManyEntries(let part, let count, let limit):
            "\(part): \(count) entries, the limit is \(limit)"
        case .noLoadSegment: "no segment to load (PT_LOAD)"
        case .segmentFileLargerThanMemory(let index, let file, let memory):
            "segment \(index): \(hex(file)) bytes in the file, only \(hex(memory)) in memory"
        case .segmentNotAscending(let index, let start, let end):
            "segment \(index): starts at \(hex(start)), before the previous one ends (\(hex(end)))"
        case .firstSegmentNotAtZero(let address):
            "the first segment lies at \(hex(address)); the Hyperlight ABI needs it at 0x0"
        case .entryOutside(let entry): "entry point \(hex(entry)) lies in no segment"
        case .relocationType(let index, let type):
            "relocation \(index): type \(type) is not R_X86_64_RELATIVE (8)"
        case .relocationOutside(let index, let place):
            "relocation \(index): place \(hex(place)) lies outside the image"
        case .relocationForm(let form): "relocations in \(form) form; only RELA is supported"
        case .noVersionNote(let accepted):
            "no Hyperlight version note; accepted: \(accepted.joined(separator: ", "))"
        case .versionNoteMalformed: "the Hyperlight version note is malformed"
        case .wrongVersion(let found, let accepted):
            "built for Hyperlight \(found); accepted: \(accepted.joined(separator: ", "))"
        case .tooLarge(let part, let count, let limit):
            "\(part.rawValue): \(hex(count)) bytes, the limit is \(hex(limit))"
        case .tooSmall(let part, let count, let minimum):
            "\(part.rawValue): \(hex(count)) bytes, the minimum is \(hex(minimum))"
        case .imageOverlapsScratch(let end, let start):
            "the image ends at \(hex(end)), beyond the start of scratch memory (\(hex(start)))"
        case .scratchNotWholePages(let count):
            "scratch memory: \(hex(count)) bytes are not whole pages of 0x1000"
        case .logLevelOutOfRange(let level): "log level \(level) is not in 0...5"
        case .imageChanged(let bytes, let expected):
            "the file has \(hex(bytes)) bytes, it had \(hex(expected)) before"
        case .noMemory(let address): "no guest memory at \(hex(address.rawValue))"
        }
    }
}

private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
