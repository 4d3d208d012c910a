/// What the client said it understands.
///
/// - Source: gdb manual, node "General Query Packets", `qSupported`.
package struct ClientFeatures: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Thread-ids with a process part.
    package static let multiprocess = ClientFeatures(rawValue: 1 << 0)
    package static let softwareBreakReason = ClientFeatures(rawValue: 1 << 1)
    package static let hardwareBreakReason = ClientFeatures(rawValue: 1 << 2)
    /// `E.TEXT` as the reply to any failed command.
    package static let errorMessage = ClientFeatures(rawValue: 1 << 3)
    /// Sent by every gdb and by no lldb, so it tells them apart.
    package static let relocateInstruction = ClientFeatures(rawValue: 1 << 4)
}

extension Command {
    /// All packets that begin with `q`, behind that letter.
    static func query(_ reader: inout BodyReader) throws(PacketError) -> Command {
        if let simple = simpleQuery(reader) { return simple }
        if reader.take(prefix: "Xfer:features:read:") { return try features(&reader) }
        if reader.take(prefix: "ThreadExtraInfo,") {
            return .threadDescription(try reader.wholeThreadID())
        }
        if reader.take(prefix: "CRC:") { return try checksumMemory(&reader) }
        if reader.take(prefix: "Rcmd,") { return .monitor(try reader.hexBytesToEnd()) }
        if reader.take(prefix: "Supported") {
            guard reader.isAtEnd || reader.take(":") else { return .unsupported }
            return .supportedFeatures(clientFeatures(&reader))
        }
        if reader.take(prefix: "Attached") {
            return reader.isAtEnd || reader.take(":") ? .isAttached : .unsupported
        }
        if reader.take(prefix: "Symbol:") { return .symbolLookupOffer }
        return .unsupported
    }

    private static func simpleQuery(_ reader: BodyReader) -> Command? {
        if reader.isWhole("fThreadInfo") { return .firstThreads }
        if reader.isWhole("sThreadInfo") { return .moreThreads }
        if reader.isWhole("C") { return .currentThread }
        if reader.isWhole("Offsets") { return .sectionOffsets }
        return nil
    }

    /// `ANNEX:OFFSET,LENGTH`.
    private static func features(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let annex = reader.text(upTo: ":")
        guard annex.elementsEqual("target.xml".utf8) else { return .unknownAnnex }
        let offset = try reader.count(cutTo: Int(Int32.max))
        try reader.expect(",")
        let byteCount = try reader.count(cutTo: PacketLimits.bodyBytesMax)
        try reader.expectEnd()
        return .targetDescription(offset: offset, byteCount: byteCount)
    }

    /// `FEATURE;FEATURE;...`; unknown ones are passed over.
    private static func clientFeatures(_ reader: inout BodyReader) -> ClientFeatures {
        let known: [(String, ClientFeatures)] = [
            ("multiprocess+", .multiprocess), ("swbreak+", .softwareBreakReason),
            ("hwbreak+", .hardwareBreakReason), ("error-message+", .errorMessage),
            ("qRelocInsn+", .relocateInstruction),
        ]
        var features: ClientFeatures = []
        while !reader.isAtEnd {
            let name = reader.text(upTo: ";")
            for (text, feature) in known where name.elementsEqual(text.utf8) {
                features.insert(feature)
            }
        }
        return features
    }
}
