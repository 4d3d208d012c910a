import SandboxConfig
import Testing
import WireProtocol

@testable import Supervisor

/// What a worker is told of the configuration.
@Suite struct WorkerSettingsTests {
    private func settings(_ debug: String) throws -> SandboxSettings {
        let text = #"{"version":1,"sandboxes":[{"name":"a","guest":"a","debug":{\#(debug)}}]}"#
        let report = SandboxFile.load(bytes: Array(text.utf8), name: "f.json", folder: "/")
        return try #require(report.configuration?.sandboxes.first)
    }

    private func told(
        _ debug: String, holdsGuest: Bool = true, canBeDebugged: Bool = true
    ) throws -> WorkerSettings {
        WorkerSettings(
            try settings(debug), holdsGuest: holdsGuest, canBeDebugged: canBeDebugged)
    }

    @Test(arguments: [
        ("", CrashPolicy.hold), (#""onCrash":"end""#, .end), (#""onCrash":"hold""#, .hold),
        (#""onCrash":"wait""#, .wait),
    ])
    func `a worker knows what becomes of a crash`(_ debug: String, _ policy: CrashPolicy) throws {
        #expect(try told(debug).onCrash == policy)
        // Where nobody can come, nobody is waited for.
        let alone = try told(debug, canBeDebugged: false).onCrash
        #expect(alone == (policy == .wait ? .hold : policy))
    }

    @Test(arguments: [
        ("", false), (#""access":"read-write""#, false), (#""access":"read-only""#, true),
    ])
    func `a worker knows whether clients may change its guest`(
        _ debug: String, _ isReadOnly: Bool
    ) throws {
        #expect(try told(debug).isDebugReadOnly == isReadOnly)
    }

    @Test func `a guest is held where the file says so and this start may`() throws {
        #expect(try told(#""startup":"wait""#).holdsForClient)
        #expect(try !told(#""startup":"wait""#, holdsGuest: false).holdsForClient)
        #expect(try !told(#""startup":"run""#).holdsForClient)
    }
}
