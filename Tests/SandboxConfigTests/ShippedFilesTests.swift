import FoundationEssentials
import GuestModel
import Testing

@testable import SandboxConfig

/// The files in `config/` agree with the reader.
struct ShippedFilesTests {
    /// The parts of a JSON schema this test looks at.
    private struct Schema: Decodable {
        struct Part: Decodable {
            let properties: [String: Part]?
        }
        let properties: [String: Part]
        let definitions: [String: Part]

        enum CodingKeys: String, CodingKey {
            case properties
            case definitions = "$defs"
        }
    }

    private static let folder =
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "config")

    @Test func `the demo has four sandboxes and no mistakes`() throws {
        let report = SandboxFile.load(path: Self.folder.path + "/sandboxes.json")
        #expect(report.text == "")
        let sandboxes = try #require(report.configuration?.sandboxes)
        #expect(sandboxes.map(\.name.text) == ["counter", "hello-swift", "wasm", "hello"])
        #expect(sandboxes.map(\.debug.port) == [9001, 9002, 9003, nil])
        #expect(sandboxes.map(\.debug.isEnabled) == [true, true, true, false])
        #expect(sandboxes.map(\.abi) == [.bare, .bare, .hyperlight, .bare])
        #expect(sandboxes[2].drivers == .automatic)
        #expect(sandboxes[2].memory.scratch == 32 << 20)
        #expect(sandboxes[0].drivers == .listed([.mshv, .kvm, .emulator]))
        #expect(sandboxes[0].guestPath.hasSuffix("/.build/guests/counter"))
        #expect(!sandboxes[0].guestPath.contains(".."))
    }

    @Test func `the schema names exactly the keys the reader knows`() throws {
        let data = try Data(contentsOf: Self.folder.appending(path: "sandboxes.schema.json"))
        let schema = try JSONDecoder().decode(Schema.self, from: data)
        #expect(schema.properties.keys.sorted() == ConfigKeys.root.known.sorted())
        for (part, keys) in [
            (schema.properties["control"], ConfigKeys.control),
            (schema.properties["log"], ConfigKeys.log),
            (schema.properties["users"], ConfigKeys.users),
            (schema.definitions["isolation"], ConfigKeys.isolation),
            (schema.definitions["limits"], ConfigKeys.limits),
            (schema.definitions["restart"], ConfigKeys.restart),
            (schema.definitions["defaults"], ConfigKeys.defaults),
            (schema.definitions["sandbox"], ConfigKeys.sandbox),
            (schema.definitions["memory"], ConfigKeys.memory),
            (schema.definitions["debug"], ConfigKeys.debug),
        ] {
            #expect(part?.properties?.keys.sorted() == keys.known.sorted())
        }
    }

    @Test(arguments: [
        ("modee", "mode"), ("nmae", "name"), ("gust", "guest"), ("xyz", nil), ("a", nil),
    ])
    func `near misses are offered`(_ word: String, _ expected: String?) {
        #expect(ConfigKeys.sandbox.nearest(to: word) == expected)
    }
}
