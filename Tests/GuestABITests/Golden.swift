import Foundation

/// The golden files beside the tests: bytes and numbers of real guests and of a proven host.
enum Golden {
    struct Missing: Error { let what: String }

    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "Golden")

    static func text(_ name: String) throws -> String {
        try String(contentsOf: folder.appending(path: name), encoding: .utf8)
    }

    /// The bytes of a hex dump: `offset: bytes` on each line.
    static func bytes(_ name: String) throws -> [UInt8] {
        try text(name).split(separator: "\n").flatMap { line in
            try line.split(separator: " ").dropFirst().map { word in
                guard let byte = UInt8(word, radix: 16) else { throw Missing(what: String(word)) }
                return byte
            }
        }
    }

    static func json(_ name: String) throws -> [String: [String: Any]] {
        let value = try JSONSerialization.jsonObject(with: Data(text(name).utf8))
        guard let object = value as? [String: [String: Any]] else { throw Missing(what: name) }
        return object
    }

    /// The numbers that `layouts.json` has for one case.
    static func layout(_ name: String) throws -> [String: UInt64] {
        guard let fields = try json("layouts.json")[name] else { throw Missing(what: name) }
        return fields.compactMapValues { value in
            (value as? String).flatMap { UInt64($0.dropFirst(2), radix: 16) }
        }
    }

    /// A file of the checked-out project, nil when it was not built or fetched.
    static func projectFile(_ path: String) -> [UInt8]? {
        let root = folder.deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return FileManager.default.contents(atPath: root.appending(path: path).path).map(Array.init)
    }
}
