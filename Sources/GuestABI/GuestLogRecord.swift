/// One log record of a Hyperlight guest (port 99).
///
/// The texts are the guest's: escape them before they reach a terminal or a log.
///
/// - Source: Hyperlight guest ABI 0.17, GuestLogData.
package struct GuestLogRecord: Hashable, Sendable {
    package enum Level: UInt8, Hashable, Sendable {
        case trace = 0
        case debug = 1
        case information = 2
        case warning = 3
        case error = 4
        case critical = 5
        case none = 6
    }

    package let message: String
    package let source: String
    package let level: Level
    package let caller: String
    package let sourceFile: String
    package let line: UInt32

    /// Decodes a whole message with its size prefix.
    package init(message bytes: [UInt8]) throws(MessageError) {
        let table = try MessageTable(root: bytes)
        message = try table.string(0, "log text")
        source = try table.string(1, "log source")
        let number = try table.number(UInt8.self, 2, "log level")
        guard let level = Level(rawValue: number) else {
            throw .unknownValue("log level", UInt64(number))
        }
        self.level = level
        caller = try table.string(3, "log caller")
        sourceFile = try table.string(4, "log source file")
        line = try table.number(UInt32.self, 5, "log line")
    }
}
