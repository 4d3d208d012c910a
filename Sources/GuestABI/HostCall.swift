/// What a Hyperlight guest asks its host to do (port 101); of the parameters only their number.
///
/// - Source: Hyperlight guest ABI 0.17, FunctionCall.
package struct HostCallRequest: Hashable, Sendable {
    package enum CallType: UInt8, Hashable, Sendable {
        case guest = 1
        case host = 2
    }

    /// Chosen by the guest.
    package let name: String
    package let parameterCount: Int
    /// A well-behaved guest says `.host`.
    package let callType: CallType
    /// 0 int, 1 uint, 2 long, 3 ulong, 4 float, 5 double, 6 string, 7 bool, 8 void, 9 bytes.
    package let expectedReturnType: UInt8

    /// Decodes a whole message with its size prefix.
    package init(message: [UInt8]) throws(MessageError) {
        let table = try MessageTable(root: message)
        name = try table.string(0, "function name")
        parameterCount = try table.vectorCount(1, "parameters")
        let type = try table.number(UInt8.self, 2, "call type")
        guard let callType = CallType(rawValue: type) else {
            throw .unknownValue("call type", UInt64(type))
        }
        self.callType = callType
        expectedReturnType = try table.number(UInt8.self, 3, "return type")
        guard expectedReturnType <= 9 else {
            throw .unknownValue("return type", UInt64(expectedReturnType))
        }
    }
}

/// Answers to host calls, as messages for the input buffer.
package enum HostCallAnswer {
    /// The error code for "the host function failed or does not exist".
    package static let hostFunctionError: UInt64 = 17
    /// Longer texts are cut.
    package static let textBytesMax = 1024

    /// A FunctionCallResult that holds a GuestError; the guest goes on with it.
    ///
    /// - Source: Hyperlight guest ABI 0.17, FunctionCallResult and GuestError.
    package static func error(code: UInt64 = hostFunctionError, text: String) -> [UInt8] {
        let text = cut(text)
        var message: [UInt8] = []
        func put<Value: FixedWidthInteger>(_ values: Value...) {
            for value in values {
                for shift in stride(from: 0, to: Value.bitWidth, by: 8) {
                    message.append(UInt8(truncatingIfNeeded: value >> shift))
                }
            }
        }
        let end = 0x40 + text.count + 1
        let size = (end + 7) & ~7
        put(UInt32(size - 4), UInt32(12))  // size prefix; root table at 4 + 12
        put(UInt16(8), UInt16(9), UInt16(8), UInt16(4))  // its slots: tag at 8, value at 4
        put(UInt32(8), UInt32(0x14), UInt32(2), UInt32(0))  // root: GuestError (2) there
        put(UInt16(8), UInt16(20), UInt16(8), UInt16(16))  // its slots: code at 8, text at 16
        put(UInt64(8), code)  // GuestError
        put(UInt32(4), UInt32(text.count))
        message += text
        message += [UInt8](repeating: 0, count: size - message.count)
        return message
    }

    /// The first bytes of `text` that are whole characters.
    private static func cut(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            let next = UTF8.encode(scalar).map(Array.init) ?? []
            guard bytes.count + next.count <= textBytesMax else { break }
            bytes += next
        }
        return bytes
    }
}
