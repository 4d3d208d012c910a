/// A failed command, as a number and one line of words.
///
/// The numbers are Linux errno values where one fits.
package enum ErrorReply: UInt8, Hashable, Sendable {
    case unknownAnnex = 0x00
    case commandFailed = 0x01
    case noSuchThread = 0x03
    case workerGone = 0x05
    case notWritable = 0x0D
    case notMapped = 0x0E
    case busy = 0x10
    case notSupported = 0x13
    case malformed = 0x16
    case noFreeDebugRegister = 0x1C

    /// One line of printable ASCII without `# $ } *`.
    package var text: String {
        switch self {
        case .unknownAnnex: "no such object"
        case .commandFailed: "command failed"
        case .noSuchThread: "no such thread or process"
        case .workerGone: "guest process is gone"
        case .notWritable: "not writable"
        case .notMapped: "address is not mapped"
        case .busy: "busy"
        case .notSupported: "not supported by this hypervisor driver"
        case .malformed: "malformed packet"
        case .noFreeDebugRegister: "no free debug register (the CPU has four)"
        }
    }
}

extension PacketEncoder {
    /// Frames `error` in the form that the client understands; `text` replaces the usual words.
    package mutating func packet(
        _ error: ErrorReply, text: String? = nil, for features: ClientFeatures
    ) {
        start()
        if features.contains(.errorMessage) {
            append("E.")
            append(plain: text ?? error.text)
        } else {
            append("E")
            append(hex: [error.rawValue].span)
            if features.contains(.errorStrings) {
                append(";")
                append(hex: Array((text ?? error.text).utf8.prefix(200)).span)
            }
        }
        finish()
    }

    /// Frames a refusal in words, for clients whose features are not known yet.
    package mutating func refusal(_ text: String) {
        start()
        append("E.")
        append(plain: text)
        finish()
    }

    /// Appends printable ASCII; whatever could disturb the framing becomes `?`.
    private mutating func append(plain text: String) {
        let marks = "#$}*".utf8
        let cleaned = text.utf8.prefix(200).map { byte in
            (0x20..<0x7F).contains(byte) && !marks.contains(byte) ? byte : UInt8(ascii: "?")
        }
        append(escaping: cleaned.span)
    }
}
