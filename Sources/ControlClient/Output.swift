import FoundationEssentials
import Glibc

/// Writing to the terminal or a pipe.
enum Output {
    /// Writes everything; ends the program quietly when the reader of standard output is gone.
    static func write(_ text: String, to descriptor: Int32 = STDOUT_FILENO) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if count < 0, errno == EPIPE, descriptor == STDOUT_FILENO {
                exit(0)
            } else if count < 0, errno != EINTR {
                return
            }
        }
    }

    /// Writes a value as JSON, keys sorted, one line feed at the end.
    static func writeJSON(_ value: some Encodable) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        // The models hold texts, whole numbers and booleans: encoding them cannot fail.
        guard let data = try? encoder.encode(value) else { return }
        write(String(decoding: data, as: UTF8.self) + "\n")
    }

    /// Seconds since 1970.
    static var now: Int64 { Int64(time(nil)) }
}
