package import GuestModel

// Answers that describe the target to lldb.
extension PacketEncoder {
    /// The architecture alone.
    ///
    /// A vendor or a system, even "unknown", makes lldb drop the images of a
    /// guest whose file names a system (Rust's say GNU), and Linux would make it look for a dynamic
    /// loader.
    private static let triple = "x86_64"

    /// Frames the reply to `qHostInfo`.
    ///
    /// - Source: lldb's documentation, "GDB Remote Protocol Extensions", `qHostInfo`.
    package mutating func hostDescription() {
        start()
        append("triple:")
        append(hex: Array(Self.triple.utf8).span)
        append(";endian:little;ptrsize:8;watchpoint_exceptions_received:after;vm-page-size:4096;")
        finish()
    }

    /// Frames the reply to `qProcessInfo`; numbers in it are hex.
    package mutating func processDescription(_ identity: TargetIdentity) {
        start()
        append("pid:")
        append(number: identity.process)
        append(";parent-pid:1;triple:")
        append(hex: Array(Self.triple.utf8).span)
        append(";ostype:unknown;endian:little;ptrsize:8;")
        finish()
    }

    /// Frames the reply to `qMemoryRegionInfo`.
    ///
    /// The last region ends one byte short of 2^64: lldb 14 asks for ever otherwise.
    package mutating func packet(_ region: MappedRegion) {
        let distance = region.last.rawValue - region.start.rawValue
        let size = region.last.rawValue == .max ? max(distance, 1) : distance + 1
        start()
        append("start:")
        append(number: region.start.rawValue)
        append(";size:")
        append(number: size)
        append(";")
        if let permissions = region.permissions {
            append("permissions:")
            if permissions.contains(.read) { append("r") }
            if permissions.contains(.write) { append("w") }
            if permissions.contains(.execute) { append("x") }
            append(";")
        }
        if !region.name.isEmpty {
            append("name:")
            append(hex: Array(region.name.utf8).span)
            append(";")
        }
        finish()
    }

    /// Frames the reply to `jThreadsInfo`: the one thread, why it stands, and its registers.
    package mutating func threadsInJSON(_ reason: StopReason, registers: RegisterFile) {
        var text = "[{\"tid\":1,\"name\":\"vcpu0\",\"signal\":\(reason.signal)"
        text += ",\"reason\":\"\(reason.wordOfLLDB)\""
        if case .crashed(let crash) = reason {
            // JSON's own marks are left out, whatever a guest put into its words.
            let words = crash.description.unicodeScalars.filter { scalar in
                (0x20..<0x7F).contains(scalar.value) && scalar != "\"" && scalar != "\\"
            }
            text += ",\"description\":\"" + String(String.UnicodeScalarView(words)) + "\""
        }
        let shown: [(number: Int, value: UInt64)] = [
            (6, registers.rbp), (7, registers.rsp), (RegisterLayout.rip, registers.rip),
        ]
        let pairs = shown.map { register in
            var digits: [UInt8] = []
            Hex.append(littleEndian: register.value, byteCount: 8, to: &digits)
            return "\"\(register.number)\":\"" + String(decoding: digits, as: UTF8.self) + "\""
        }
        text += ",\"registers\":{" + pairs.joined(separator: ",") + "}}]"
        start()
        append(escaping: Array(text.utf8).span)
        finish()
    }
}

extension StopReason {
    /// lldb's word for a stop.
    var wordOfLLDB: String {
        switch self {
        case .stepped: "trace"
        case .softwareBreakpoint, .hardwareBreakpoint: "breakpoint"
        case .watchpoint: "watchpoint"
        case .crashed: "exception"
        case .entryPoint, .attached, .interrupted, .guestTrap: "signal"
        }
    }
}
