import Glibc

/// Numeric internet addresses, read by the C library and never looked up.
enum NumericAddress {
    static func isValid(_ text: String) -> Bool { ipv4(text) != nil || ipv6(text) != nil }

    /// 127.0.0.0/8 or ::1.
    static func isLoopback(_ text: String) -> Bool {
        if let bytes = ipv4(text) { return bytes.first == 127 }
        guard let bytes = ipv6(text) else { return false }
        return bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
    }

    private static func ipv4(_ text: String) -> [UInt8]? { parsed(text, AF_INET, byteCount: 4) }
    private static func ipv6(_ text: String) -> [UInt8]? { parsed(text, AF_INET6, byteCount: 16) }

    /// The address in network byte order.
    private static func parsed(_ text: String, _ family: Int32, byteCount: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }
}
