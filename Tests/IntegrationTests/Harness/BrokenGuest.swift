/// Small ELF files with one thing wrong in each.
enum BrokenGuest: String, CaseIterable {
    case empty
    case notELF = "not-elf"
    case truncated
    case machine
    case hugeSegment = "huge-segment"
    case overlap
    case beyondFile = "beyond-file"
    case entryOutside = "entry-outside"
    case relocation
    case version
    case noVersion = "no-version"

    var abi: String {
        switch self {
        case .version, .noVersion: "hyperlight"
        case .empty, .notELF, .truncated, .machine, .hugeSegment, .overlap, .beyondFile,
            .entryOutside, .relocation:
            "bare"
        }
    }

    /// Words that the refusal must contain.
    var reason: [String] {
        switch self {
        case .empty: ["empty"]
        case .notELF: ["ELF"]
        case .truncated: ["program headers", "beyond the file"]
        case .machine: ["machine"]
        case .hugeSegment: ["0x400000000000", "limit"]
        case .overlap: ["segment 1", "before the previous one ends"]
        case .beyondFile: ["segment 0", "beyond the file"]
        case .entryOutside: ["entry"]
        case .relocation: ["relocation", "type 5"]
        case .version: ["0.16.0", "0.17"]
        case .noVersion: ["version"]
        }
    }

    var bytes: [UInt8] {
        var file = ELFWriter()
        switch self {
        case .empty: return []
        case .notELF: return Array("#!/bin/sh\necho this is no guest\n".utf8)
        case .truncated: return Array(file.bytes.prefix(100))
        case .machine: file.machine = 183
        case .hugeSegment: file.segments[0].memorySize = 1 << 46
        case .overlap: file.segments.append(file.segments[0])
        case .beyondFile: file.segments[0].fileSize = 1 << 20
        case .entryOutside: file.entry = 0x90_0000
        case .relocation: file.relocationType = 5
        case .version: file.version = "0.16.0"
        case .noVersion: break
        }
        return file.bytes
    }
}

/// Writes an ELF64 file with one page of code, in which every field can be made wrong.
///
/// - Source: System V ABI, "Object Files"; the version note of the Hyperlight guest ABI.
struct ELFWriter {
    struct Segment {
        var type: UInt32 = 1
        var offset: UInt64 = 0x1000
        var address: UInt64 = 0x10_0000
        var fileSize: UInt64 = 16
        var memorySize: UInt64 = 4096
    }

    var machine: UInt16 = 62
    var entry: UInt64 = 0x10_0000
    var segments = [Segment()]
    /// With a value, the file is position independent and has one relocation of this type.
    var relocationType: UInt64?
    /// With a value, there is a version note that says so.
    var version: String?

    var bytes: [UInt8] {
        var segments = segments
        var type: UInt16 = 2
        var tail: [UInt8] = []
        if let relocationType {
            // A dynamic table (at 0x1100) that names one relocation (at 0x1180).
            type = 3
            segments[0].fileSize = 0x198
            segments[0].address = 0
            segments.append(
                Segment(type: 2, offset: 0x1100, address: 0x100, fileSize: 64, memorySize: 64))
            for (tag, value) in [(7, 0x180), (8, 24), (9, 24), (0, 0)] as [(UInt64, UInt64)] {
                tail += Self.little(tag, 8) + Self.little(value, 8)
            }
            tail += [UInt8](repeating: 0, count: 0x80 - tail.count)
            tail += Self.little(0x10, 8) + Self.little(relocationType, 8) + Self.little(0, 8)
        }
        let code: [UInt8] = [0xF4, 0xEB, 0xFD] + [UInt8](repeating: 0x90, count: 13)
        var file = header(type: type, segmentCount: segments.count)
        for segment in segments { file += Self.programHeader(segment) }
        file += [UInt8](repeating: 0, count: 0x1000 - file.count) + code
        file += [UInt8](repeating: 0, count: 0x1100 - file.count) + tail
        return file + sections(at: file.count)
    }

    /// Header of the file; with a version note the section headers come at its very end.
    private func header(type: UInt16, segmentCount: Int) -> [UInt8] {
        let entry = relocationType == nil ? entry : 0
        let tableStart: UInt64 = version == nil ? 0 : 0x1100 + UInt64(noteAndNames.count)
        var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        file += Self.little(UInt64(type), 2) + Self.little(UInt64(machine), 2)
        file += Self.little(1, 4) + Self.little(entry, 8) + Self.little(64, 8)
        file += Self.little(tableStart, 8) + Self.little(0, 4) + Self.little(64, 2)
        file += Self.little(56, 2) + Self.little(UInt64(segmentCount), 2) + Self.little(64, 2)
        file += Self.little(version == nil ? 0 : 3, 2) + Self.little(version == nil ? 0 : 2, 2)
        return file
    }

    private static func programHeader(_ segment: Segment) -> [UInt8] {
        little(UInt64(segment.type), 4) + little(7, 4) + little(segment.offset, 8)
            + little(segment.address, 8) + little(segment.address, 8)
            + little(segment.fileSize, 8) + little(segment.memorySize, 8) + little(4096, 8)
    }

    private static let names = Array("\0.note.hyperlight-version\0.shstrtab\0".utf8)

    private var note: [UInt8] {
        guard let version else { return [] }
        let text = Array(version.utf8) + [0]
        var note = Self.little(11, 4) + Self.little(UInt64(text.count), 4) + Self.little(1, 4)
        note += Array("Hyperlight".utf8) + [0]
        note += [UInt8](repeating: 0, count: (8 - note.count % 8) % 8) + text
        return note + [UInt8](repeating: 0, count: (8 - note.count % 8) % 8)
    }

    private var noteAndNames: [UInt8] { note + Self.names }

    private func sections(at start: Int) -> [UInt8] {
        guard version != nil else { return [] }
        let noteStart = UInt64(start)
        let noteCount = UInt64(note.count)
        let nameCount = UInt64(Self.names.count)
        return noteAndNames + [UInt8](repeating: 0, count: 64)
            + Self.section(name: 1, type: 7, offset: noteStart, size: noteCount, alignment: 8)
            + Self.section(
                name: 26, type: 3, offset: noteStart + noteCount, size: nameCount, alignment: 1)
    }

    private static func section(
        name: UInt64, type: UInt64, offset: UInt64, size: UInt64, alignment: UInt64
    ) -> [UInt8] {
        little(name, 4) + little(type, 4) + little(0, 8) + little(0, 8) + little(offset, 8)
            + little(size, 8) + little(0, 8) + little(alignment, 8) + little(0, 8)
    }

    private static func little(_ value: UInt64, _ byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
