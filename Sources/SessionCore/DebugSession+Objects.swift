import GDBRemote

// Objects that clients read piece by piece, and the one file.
extension DebugSession {
    /// The descriptor that every opening of the one file gets; nothing is remembered of it.
    private static let fileDescriptor: UInt64 = 5

    mutating func replyObject(_ object: TransferObject, offset: Int, byteCount: Int) {
        guard let bytes = content(of: object) else { return reply("") }
        reply { $0.packet(object: bytes.span, offset: offset, byteCount: byteCount) }
    }

    /// Nil for an object that was not offered.
    private func content(of object: TransferObject) -> [UInt8]? {
        switch object {
        case .targetDescription: TargetDescription.bytes(for: registerLayout)
        case .threads: Array(threadList.utf8)
        case .executableName: symbolFile.map { Array($0.name.utf8) }
        }
    }

    /// - Source: gdb manual, node "Thread List Format".
    private var threadList: String {
        var encoder = PacketEncoder()
        encoder.append(threadOf: identity, features)
        let thread = String(decoding: encoder.bytes, as: UTF8.self)
        return "<?xml version=\"1.0\"?><threads><thread id=\"\(thread)\" core=\"0\" name=\"vcpu0\">"
            + "ring 0</thread></threads>"
    }

    mutating func perform(_ command: FileCommand) {
        guard let file = symbolFile else { return reply("") }
        switch command {
        case .setFileSystem: reply { $0.packet(fileResult: 0) }
        case .open(let path, let flags):
            guard path.elementsEqual(file.name.utf8) else {
                return reply { $0.packet(.noSuchFile) }
            }
            // Any other flag would write, append, create or cut.
            guard flags == 0 else { return reply { $0.packet(.accessDenied) } }
            reply { $0.packet(fileResult: Self.fileDescriptor) }
        case .status(let descriptor):
            guard descriptor == Self.fileDescriptor else { return replyBadDescriptor() }
            reply { $0.packet(fileStatus: file.byteCount) }
        case .close(let descriptor):
            guard descriptor == Self.fileDescriptor else { return replyBadDescriptor() }
            reply { $0.packet(fileResult: 0) }
        case .read(let descriptor, let byteCount, let offset):
            guard descriptor == Self.fileDescriptor else { return replyBadDescriptor() }
            guard let bytes = file.read(at: offset, byteCount: byteCount) else {
                return reply { $0.packet(.accessDenied) }
            }
            reply { $0.packet(fileContent: bytes.span) }
        case .forbidden: reply { $0.packet(.notSupported) }
        }
    }

    private mutating func replyBadDescriptor() {
        reply { $0.packet(.badDescriptor) }
    }
}
