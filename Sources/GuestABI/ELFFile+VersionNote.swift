extension ELFFile {
    private static var noteSectionName: [UInt8] { Array(".note.hyperlight-version".utf8) }
    private static var noteOwner: [UInt8] { Array("Hyperlight".utf8) }
    /// Longer descriptors are no versions; the text also goes into messages.
    private static var versionBytesMax: UInt64 { 64 }
    /// Real notes have 40 bytes; sections may name the same bytes again and again.
    private static var noteBytesMax: UInt64 { 4096 }

    /// Checks the version the guest was built for.
    ///
    /// - Source: Hyperlight guest ABI 0.17, version note.
    func checkVersion(_ image: Span<UInt8>, options: GuestOptions) throws(GuestRejection) {
        guard let version = try hyperlightVersion(image) else {
            guard options.acceptsUnversionedGuest else {
                throw .noVersionNote(accepted: options.acceptedVersions)
            }
            return
        }
        guard options.acceptedVersions.contains(version) else {
            throw .wrongVersion(version, accepted: options.acceptedVersions)
        }
    }

    /// The version in the image's note, nil when it has none.
    func hyperlightVersion(_ image: Span<UInt8>) throws(GuestRejection) -> String? {
        // An empty section may lie anywhere, also outside of the file.
        for section in sections where section.type == 7 && section.byteCount > 0 {
            guard isNamed(section, Self.noteSectionName, in: image) else { continue }
            guard section.byteCount <= Self.noteBytesMax else { throw .versionNoteMalformed }
            let start = Int(section.fileOffset)
            let notes = image.extracting(start..<start + Int(section.byteCount))
            if let version = try Self.version(inNotes: notes) { return version }
        }
        return nil
    }

    private func isNamed(_ section: Section, _ name: [UInt8], in image: Span<UInt8>) -> Bool {
        guard sections.indices.contains(header.sectionNamesIndex) else { return false }
        let names = sections[header.sectionNamesIndex]
        let size = UInt64(name.count) + 1
        guard names.type == 3, UInt64(section.nameOffset) + size <= names.byteCount else {
            return false
        }
        let start = Int(names.fileOffset) + Int(section.nameOffset)
        return image[start + name.count] == 0
            && name.indices.allSatisfy { image[start + $0] == name[$0] }
    }

    /// The first note that is Hyperlight's; name and descriptor start at multiples of 8.
    private static func version(inNotes notes: Span<UInt8>) throws(GuestRejection) -> String? {
        var offset: UInt64 = 0
        while let nameBytes = notes.littleEndian(UInt32.self, at: offset) {
            guard let descriptorBytes = notes.littleEndian(UInt32.self, at: offset + 4),
                let type = notes.littleEndian(UInt32.self, at: offset + 8)
            else { throw .versionNoteMalformed }
            // 32-bit sizes: no sum here can reach 2^64.
            let descriptor = (offset + 12 + UInt64(nameBytes) + 7) & ~7
            let end = descriptor + UInt64(descriptorBytes)
            guard end <= UInt64(notes.count) else { throw .versionNoteMalformed }
            let name = trimmed(notes, from: offset + 12, byteCount: UInt64(nameBytes))
            if type == 1, name == noteOwner {
                return try text(notes, from: descriptor, byteCount: UInt64(descriptorBytes))
            }
            offset = (end + 7) & ~7
        }
        return nil
    }

    private static func text(
        _ notes: Span<UInt8>, from start: UInt64, byteCount: UInt64
    ) throws(GuestRejection) -> String {
        guard byteCount <= versionBytesMax else { throw .versionNoteMalformed }
        let bytes = trimmed(notes, from: start, byteCount: byteCount)
        guard bytes.allSatisfy({ (0x20..<0x7F).contains($0) }) else { throw .versionNoteMalformed }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A copy of at most 64 bytes without trailing zeros.
    private static func trimmed(
        _ notes: Span<UInt8>, from start: UInt64, byteCount: UInt64
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        for index in 0..<min(byteCount, versionBytesMax) {
            bytes.append(notes[Int(start + index)])
        }
        while bytes.last == 0 { bytes.removeLast() }
        return bytes
    }
}
