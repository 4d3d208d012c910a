import GuestModel
import SandboxConfig
import Testing

struct IsolationTests {
    @Test func `a silent file leaves the profile to the supervisor and asks for the basics`() throws
    {
        let report = report(#"{"version":1,"sandboxes":[{"name":"a","guest":"a"}]}"#)
        let configuration = try #require(report.configuration)
        #expect(configuration.firstUserID == 1_879_048_192)
        let sandbox = try #require(configuration.sandboxes.first)
        #expect(sandbox.isolation.profile == nil)
        #expect(sandbox.isolation.required == [.seccomp, .noNewPrivileges, .capabilities])
        #expect(!sandbox.isolation.reportsViolations)
        #expect(sandbox.limits.memory == nil && sandbox.limits.processorPercent == nil)
    }

    @Test func `a sandbox's own values win over the defaults, key by key`() throws {
        let report = report(
            """
            {"version":1,"users":{"base":2000000000},
             "defaults":{"isolation":{"profile":"container","require":["landlock"],"diagnose":true},
                         "limits":{"memory":"64MiB","cpuPercent":50}},
             "sandboxes":[{"name":"a","guest":"a"},
                          {"name":"b","guest":"b","isolation":{"profile":"strict","require":[]},
                           "limits":{"cpuPercent":100}}]}
            """)
        #expect(report.text == "")
        let configuration = try #require(report.configuration)
        #expect(configuration.firstUserID == 2_000_000_000)
        let (a, b) = (configuration.sandboxes[0], configuration.sandboxes[1])
        #expect(a.isolation.profile == .container && a.isolation.required == [.landlock])
        #expect(a.isolation.reportsViolations)
        #expect(a.limits.memory == 64 << 20 && a.limits.processorPercent == 50)
        #expect(b.isolation.profile == .strict && b.isolation.required == [])
        #expect(b.isolation.reportsViolations)
        #expect(b.limits.memory == 64 << 20 && b.limits.processorPercent == 100)
    }

    private static let mistakes: [MistakeCase] = [
        .sandbox(
            "a profile that does not exist", #""isolation":{"profile":"stric"}"#,
            "1:74: error: sandboxes[0].isolation.profile: \"stric\" is not one of: "
                + "strict, container, developer\n    hint: did you mean \"strict\"?"),
        .sandbox(
            "a measure that does not exist", #""isolation":{"require":["seccom"]}"#,
            "1:75: error: sandboxes[0].isolation.require[0]: \"seccom\" is not one of: seccomp, "
                + "noNewPrivileges, capabilities, landlock, user, namespaces, cgroup"
                + "\n    hint: did you mean \"seccomp\"?"),
        .sandbox(
            "a measure twice", #""isolation":{"require":["user","user"]}"#,
            "1:82: error: sandboxes[0].isolation.require[1]: \"user\" stands twice in the list"),
        .sandbox(
            "measures that are no list", #""isolation":{"require":"all"}"#,
            "1:74: error: sandboxes[0].isolation.require: expected an array, found a string"),
        .sandbox(
            "too little memory", #""limits":{"memory":"1MiB"}"#,
            "1:70: error: sandboxes[0].limits.memory: 1048576 bytes is not an allowed size "
                + "(allowed 16777216-34359738368)"),
        .sandbox(
            "no processor", #""limits":{"cpuPercent":0}"#,
            "1:74: error: sandboxes[0].limits.cpuPercent: 0 is not a percentage (allowed 1-100)"),
        MistakeCase(
            "user ids of people",
            #"{"version":1,"users":{"base":999},"sandboxes":[]}"#,
            "1:30: error: users.base: 999 is not a first user id (allowed 1000-4294965246)"),
    ]

    @Test(arguments: mistakes)
    func `a mistake about confinement is told with its place`(_ mistake: MistakeCase) {
        let messages = mistake.messages.map { "f.json:\($0)\n" }.joined()
        #expect(report(mistake.text).text.hasPrefix(messages))
    }
}
