/// What the client said it understands.
///
/// - Source: gdb manual, node "General Query Packets", `qSupported`.
package struct ClientFeatures: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Thread-ids with a process part.
    package static let multiprocess = ClientFeatures(rawValue: 1 << 0)
    package static let softwareBreakReason = ClientFeatures(rawValue: 1 << 1)
    package static let hardwareBreakReason = ClientFeatures(rawValue: 1 << 2)
    /// `E.TEXT` as the reply to any failed command.
    package static let errorMessage = ClientFeatures(rawValue: 1 << 3)
    /// Sent by every gdb and by no lldb, so it tells them apart.
    package static let relocateInstruction = ClientFeatures(rawValue: 1 << 4)
    /// Turned on by `QEnableErrorStrings`: words behind the number of an error.
    package static let errorStrings = ClientFeatures(rawValue: 1 << 5)
    /// Turned on by `QListThreadsInStopReply`.
    package static let threadsInStopReplies = ClientFeatures(rawValue: 1 << 6)
    /// It sent what only lldb sends.
    package static let lldb = ClientFeatures(rawValue: 1 << 7)

    /// What packets other than `qSupported` turn on.
    package static let enabledLater: ClientFeatures = [.errorStrings, .threadsInStopReplies, .lldb]

    /// Whether run-length coded replies are understood: gdb does, of others it is not known.
    var expandsRuns: Bool { contains(.relocateInstruction) && !contains(.lldb) }
}

extension Command {
    /// All packets that begin with `q`, behind that letter.
    static func query(_ reader: inout BodyReader) throws(PacketError) -> Command {
        if let simple = simpleQuery(reader) { return simple }
        if reader.take(prefix: "Xfer:") { return try transfer(&reader) }
        if reader.take(prefix: "MemoryRegionInfo:") {
            let address = try reader.address()
            try reader.expectEnd()
            return .describeRegion(address)
        }
        if reader.take(prefix: "Search:memory:") { return try searchMemory(&reader) }
        if reader.take(prefix: "ThreadStopInfo") {
            return .threadStopReason(try reader.wholeThreadID())
        }
        if reader.take(prefix: "Echo:") { return .echo(reader.rawBytesToEnd()) }
        if reader.take(prefix: "WatchpointSupportInfo:") { return .watchpointCount }
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
        if reader.isWhole("HostInfo") { return .hostDescription }
        if reader.isWhole("ProcessInfo") { return .processDescription }
        return nil
    }

    /// All packets that begin with `Q`, behind that letter.
    static func setting(_ reader: inout BodyReader) throws(PacketError) -> Command {
        if reader.isWhole("StartNoAckMode") { return .startNoAckMode }
        if reader.isWhole("EnableErrorStrings") { return .enable([.lldb, .errorStrings]) }
        if reader.isWhole("ThreadSuffixSupported") { return .enable(.lldb) }
        if reader.isWhole("ListThreadsInStopReply") {
            return .enable([.lldb, .threadsInStopReplies])
        }
        return try registerState(&reader) ?? .unsupported
    }

    /// `OBJECT:read:ANNEX:OFFSET,LENGTH`.
    private static func transfer(_ reader: inout BodyReader) throws(PacketError) -> Command {
        let object: TransferObject
        if reader.take(prefix: "features:read:") {
            object = .targetDescription
        } else if reader.take(prefix: "threads:read:") {
            object = .threads
        } else if reader.take(prefix: "exec-file:read:") {
            object = .executableName
        } else {
            return .unsupported
        }
        let annex = reader.text(upTo: ":")
        guard object.hasAnnex(annex) else { return .unknownAnnex }
        let offset = try reader.count(cutTo: Int(Int32.max))
        try reader.expect(",")
        let byteCount = try reader.count(cutTo: PacketLimits.bodyBytesMax)
        try reader.expectEnd()
        return .readObject(object, offset: offset, byteCount: byteCount)
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

extension TransferObject {
    /// An executable's annex is a process id; there is one process, so any number is ours.
    fileprivate func hasAnnex(_ annex: ArraySlice<UInt8>) -> Bool {
        switch self {
        case .targetDescription: annex.elementsEqual("target.xml".utf8)
        case .threads: annex.isEmpty
        case .executableName: annex.allSatisfy { Hex.value($0) != nil }
        }
    }
}
