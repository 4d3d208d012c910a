import SandboxConfig
import Testing

struct RestartTests {
    @Test func `a silent file restarts on failure, after 200 ms to 30 s, five times in a minute`()
        throws
    {
        let sandboxes = try sandboxes(#"{"version":1,"sandboxes":[{"name":"a","guest":"a"}]}"#)
        #expect(sandboxes.map(\.restart) == [RestartSettings()])
        let restart = RestartSettings()
        #expect(restart.policy == .onFailure && restart.burst == 5)
        #expect(restart.initialDelay == .milliseconds(200) && restart.maxDelay == .seconds(30))
        #expect(restart.window == .seconds(60))
    }

    @Test func `a sandbox's own values win over the defaults, key by key`() throws {
        let sandboxes = try sandboxes(
            """
            {"version":1,
             "defaults":{"restart":{"policy":"always","initialDelay":"1s","burst":9}},
             "sandboxes":[{"name":"a","guest":"a"},
                          {"name":"b","guest":"b",
                           "restart":{"policy":"never","maxDelay":"2s","window":"1h"}},
                          {"name":"c","guest":"c","restart":{"initialDelay":"2m"}}]}
            """)
        #expect(sandboxes.map(\.restart.policy) == [.always, .never, .always])
        #expect(sandboxes.map(\.restart.burst) == [9, 9, 9])
        #expect(
            sandboxes.map(\.restart.initialDelay) == [.seconds(1), .seconds(1), .seconds(120)])
        // The longest delay is no shorter than the first.
        #expect(sandboxes.map(\.restart.maxDelay) == [.seconds(30), .seconds(2), .seconds(120)])
        #expect(sandboxes.map(\.restart.window) == [.seconds(60), .seconds(3600), .seconds(60)])
    }

    private static let mistakes: [MistakeCase] = [
        .sandbox(
            "a policy that does not exist", #""restart":{"policy":"on-failures"}"#,
            "1:71: error: sandboxes[0].restart.policy: \"on-failures\" is not one of: "
                + "never, on-failure, always\n    hint: did you mean \"on-failure\"?"),
        .sandbox(
            "no time", #""restart":{"window":"0s"}"#,
            "1:71: error: sandboxes[0].restart.window: must be longer than 0s and at most 24h"),
        .sandbox(
            "too long a time", #""restart":{"initialDelay":"25h"}"#,
            "1:77: error: sandboxes[0].restart.initialDelay: "
                + "must be longer than 0s and at most 24h"),
        .sandbox(
            "a number for a time", #""restart":{"maxDelay":5}"#,
            "1:73: error: sandboxes[0].restart.maxDelay: "
                + "expected a time span such as \"5s\", found a number"),
        .sandbox(
            "no restart at all", #""restart":{"burst":0}"#,
            "1:70: error: sandboxes[0].restart.burst: 0 is not a number of restarts "
                + "(allowed 1-1000)"),
        .sandbox(
            "delays the wrong way round", #""restart":{"initialDelay":"2s","maxDelay":"1s"}"#,
            "1:61: error: sandboxes[0].restart: maxDelay is shorter than initialDelay"),
        .sandbox(
            "a key that does not exist", #""restart":{"bursts":1}"#,
            "1:62: error: sandboxes[0].restart.bursts: unknown key\n"
                + "    hint: did you mean \"burst\"?"),
    ]

    @Test(arguments: mistakes)
    func `a mistake about restarts is told with its place`(_ mistake: MistakeCase) {
        let messages = mistake.messages.map { "f.json:\($0)\n" }.joined()
        let text = report(mistake.text).text
        #expect(text.hasPrefix(messages), "\(text)")
    }

    private func sandboxes(_ text: String) throws -> [SandboxSettings] {
        let report = report(text)
        #expect(report.text == "")
        return try #require(report.configuration).sandboxes
    }
}
