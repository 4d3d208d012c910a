import GuestModel
import SandboxConfig
import Testing

/// A text and the messages it must give, in order, without the file name.
struct MistakeCase: CustomTestStringConvertible, Sendable {
    let name: String
    let text: String
    let messages: [String]

    init(_ name: String, _ text: String, _ messages: String...) {
        self.name = name
        self.text = text
        self.messages = messages
    }

    var testDescription: String { name }

    /// One sandbox with further members.
    static func sandbox(_ name: String, _ members: String, _ messages: String...) -> MistakeCase {
        var made = MistakeCase(
            name, #"{"version":1,"sandboxes":[{"name":"a","guest":"a","# + members + "}]}")
        made = MistakeCase(name: name, text: made.text, messages: messages)
        return made
    }

    private init(name: String, text: String, messages: [String]) {
        self.name = name
        self.text = text
        self.messages = messages
    }
}

func report(_ text: String) -> SandboxFileReport {
    SandboxFile.load(bytes: Array(text.utf8), name: "f.json", folder: "/etc/hyperlight")
}

struct SandboxFileTests {
    @Test func `the smallest file gives the documented defaults`() throws {
        let report = report(#"{"version":1,"sandboxes":[{"name":"a","guest":"a.elf"}]}"#)
        #expect(report.text == "")
        #expect(report.outcome == .loaded)
        let configuration = try #require(report.configuration)
        #expect(configuration.controlSocket == nil)
        let sandbox = try #require(configuration.sandboxes.first)
        #expect(sandbox.name.text == "a")
        #expect(sandbox.isEnabled)
        #expect(sandbox.guestPath == "/etc/hyperlight/a.elf")
        #expect(sandbox.symbolsPath == sandbox.guestPath)
        #expect(sandbox.abi == .hyperlight)
        #expect(sandbox.drivers == .automatic)
        #expect(sandbox.mode == .serve)
        #expect(sandbox.memory.heap == 131_072)
        #expect(sandbox.memory.scratch == 294_912)
        #expect(sandbox.memory.inputData == 16384)
        #expect(sandbox.memory.outputData == 16384)
        #expect(sandbox.debug.isEnabled)
        #expect(sandbox.debug.port == nil)
        #expect(sandbox.debug.address == "127.0.0.1")
        #expect(sandbox.debug.startup == .run)
        #expect(sandbox.debug.waitTimeout == .zero)
        #expect(sandbox.debug.onDisconnect == .resume)
        #expect(sandbox.debug.onKill == .detach)
        #expect(sandbox.debug.onCrash == .hold)
        #expect(sandbox.debug.access == .readWrite)
        #expect(sandbox.labels.isEmpty)
        #expect(!sandbox.acceptsUnversionedGuest)
        #expect(sandbox.sourcePosition == TextPosition(line: 1, column: 27))
    }

    @Test func `every field arrives`() throws {
        let report = report(
            """
            { "$schema": "s", "version": 1,
              "control": { "socket": "run/c.sock" },
              "log": { "format": "json", "level": "debug" },
              "sandboxes": [ {
                "name": "full", "enabled": false, "guest": "../g/x", "symbols": "/s/x.debug",
                "abi": "bare", "hypervisor": ["emulator", "kvm"], "mode": "once",
                "memory": { "heap": 4096, "scratch": "1MiB", "inputData": "8KiB",
                            "outputData": "64KiB" },
                "debug": { "enabled": true, "port": 65535, "address": "::1", "startup": "run",
                           "allowRemote": false, "waitTimeout": "250ms", "onDisconnect": "stop",
                           "onKill": "terminate", "onCrash": "wait", "access": "read-only" },
                "labels": { "team": "caf\\u00e9" }, "allowUnversionedGuest": true } ] }
            """)
        #expect(report.text == "")
        let configuration = try #require(report.configuration)
        #expect(configuration.controlSocket == "/etc/hyperlight/run/c.sock")
        #expect(configuration.log.format == .json)
        #expect(configuration.log.level == .debug)
        let sandbox = try #require(configuration.sandboxes.first)
        #expect(!sandbox.isEnabled)
        #expect(sandbox.guestPath == "/etc/g/x")
        #expect(sandbox.symbolsPath == "/s/x.debug")
        #expect(sandbox.abi == .bare)
        #expect(sandbox.drivers == .listed([.emulator, .kvm]))
        #expect(sandbox.mode == .once)
        #expect(sandbox.memory.heap == 4096)
        #expect(sandbox.memory.scratch == 1 << 20)
        #expect(sandbox.debug.port == 65535)
        #expect(sandbox.debug.address == "::1")
        #expect(sandbox.debug.startup == .run)
        #expect(sandbox.debug.waitTimeout == .milliseconds(250))
        #expect(sandbox.debug.onDisconnect == .stop)
        #expect(sandbox.debug.onKill == .terminate)
        #expect(sandbox.debug.onCrash == .wait)
        #expect(sandbox.debug.access == .readOnly)
        #expect(sandbox.labels == ["team": "café"])
        #expect(sandbox.acceptsUnversionedGuest)
    }

    @Test func `defaults fill what a sandbox leaves out, key by key`() throws {
        let report = report(
            """
            {"version":1,
             "defaults":{"abi":"bare","memory":{"heap":"1MiB"},"debug":{"onKill":"terminate",
                         "onCrash":"end","access":"read-only"}},
             "sandboxes":[{"name":"a","guest":"a","memory":{"scratch":"2MiB"},
                           "debug":{"port":9001,"onCrash":"hold"}}]}
            """)
        let sandbox = try #require(report.configuration?.sandboxes.first)
        #expect(sandbox.abi == .bare)
        #expect(sandbox.memory.heap == 1 << 20)
        #expect(sandbox.memory.scratch == 2 << 20)
        #expect(sandbox.debug.onKill == .terminate)
        #expect(sandbox.debug.onCrash == .hold)
        #expect(sandbox.debug.access == .readOnly)
        #expect(sandbox.debug.startup == .hold)
    }

    @Test func `all mistakes are reported at once, sorted, with a count`() {
        let report = report(
            """
            {
              "version": 1,
              "sandboxes": [
                { "name": "a", "guest": "a", "debug": { "port": 9001 } },
                { "name": "b", "guest": "b", "modee": "once", "name": "c",
                  "debug": { "port": 99999 } },
                { "name": "d", "guest": "d", "debug": { "port": 9001 } }
              ]
            }
            """)
        #expect(
            report.text == """
                f.json:5:34: error: sandboxes[1].modee: unknown key
                    hint: did you mean "mode"?
                f.json:5:51: error: sandboxes[1].name: duplicate key
                    hint: the first one is in line 5
                f.json:6:26: error: sandboxes[1].debug.port: 99999 is not a port (allowed 1-65535)
                f.json:7:53: warning: sandboxes[2].debug.port: 9001 is already used by sandboxes[0] "a"; "d" runs without TCP debugging
                3 errors, 1 warning; nothing was started

                """)
        #expect(report.outcome == .invalid)
        #expect(report.outcome.rawValue == 78)
        #expect(report.configuration == nil)
        #expect(report.json.contains(#""pointer" : "/sandboxes/1/debug/port""#))
        #expect(report.json.contains(#""code" : "out-of-range""#))
    }

    @Test func `the second sandbox on one port is marked and does not wait`() throws {
        let report = report(
            """
            {"version":1,"sandboxes":[
             {"name":"a","guest":"a","debug":{"port":9001}},
             {"name":"b","guest":"b","debug":{"port":9001}},
             {"name":"c","guest":"c","debug":{"port":9001,"address":"127.0.0.2"}}]}
            """)
        #expect(report.outcome == .loaded)
        #expect(report.warningCount == 1)
        #expect(report.summary == "1 warning")
        let sandboxes = try #require(report.configuration?.sandboxes)
        #expect(sandboxes.map { $0.debug.portConflictWith?.text } == [nil, "a", nil])
        #expect(sandboxes.map(\.debug.startup) == [.hold, .run, .hold])
        let strict = report.treatingWarningsAsErrors()
        #expect(strict.outcome == .invalid)
        #expect(strict.summary == "1 error; nothing was started")
    }

    @Test func `no more than fifty problems are printed`() {
        let keys = (0..<70).map { "\"zzzzzz\($0)\":1" }.joined(separator: ",")
        let report = report(#"{"version":1,"sandboxes":[],"# + keys + "}")
        #expect(report.problems.count == 50)
        #expect(report.summary == "70 errors (the first 50 are shown); nothing was started")
    }

    @Test(arguments: [true, false])
    func `all of very many problems are counted and the first ones shown`(isOutsideFirst: Bool) {
        let keys = (0..<1500).map { "\"zzzzzz\($0)\":1" }.joined(separator: ",")
        let inside = "\"sandboxes\":[{\(keys)}]"
        let text = isOutsideFirst ? "\(keys),\(inside)" : "\(inside),\(keys)"
        let report = report("{\"version\":1,\(text)}")
        #expect(report.errorCount >= 3000)
        let shown = report.problems.map(\.path).filter { $0.contains("zzzzzz") }
        #expect(shown.count >= 48)
        let place = isOutsideFirst ? "" : "sandboxes[0]."
        #expect(shown == shown.indices.map { "\(place)zzzzzz\($0)" })
    }

    @Test(arguments: Self.mistakes)
    func `a mistake is named with its place`(_ mistake: MistakeCase) {
        let report = report(mistake.text)
        #expect(
            report.problems.map { String($0.text.dropFirst("f.json:".count)) } == mistake.messages)
        #expect(report.outcome == (report.errorCount > 0 ? .invalid : .loaded))
    }

    static let mistakes: [MistakeCase] = [
        MistakeCase("root is an array", "[]", "1:1: error: expected an object, found an array"),
        MistakeCase(
            "nothing", "{}", #"1:1: error: the key "version" is missing"#,
            #"1:1: error: the key "sandboxes" is missing"#),
        MistakeCase(
            "future version", #"{"version":2,"sandboxes":[]}"#,
            "1:12: error: version: version 2 of the format is not supported (allowed 1)"),
        MistakeCase(
            "null", #"{"version":null,"sandboxes":[]}"#,
            "1:12: error: version: expected a number, found null"),
        MistakeCase(
            "not in this version", #"{"version":1,"sandboxes":[],"metrics":{}}"#,
            "1:29: error: metrics: unknown key\n    hint: not supported by this version"),
        MistakeCase(
            "journald", #"{"version":1,"sandboxes":[],"log":{"format":"journald"}}"#,
            #"1:45: error: log.format: "journald" is not supported by this version"#),
        MistakeCase(
            "same name",
            #"{"version":1,"sandboxes":[{"name":"a","guest":"a"},{"name":"a","guest":"b"}]}"#,
            #"1:60: error: sandboxes[1].name: "a" is already the name of sandboxes[0]"#),
        MistakeCase(
            "bad name", #"{"version":1,"sandboxes":[{"name":"A_\n","guest":"a"}]}"#,
            #"1:35: error: sandboxes[0].name: "A_\u{a}" is not a sandbox name (1 to 63 of a-z, 0-9 and -, no - at either end)"#
        ),
        .sandbox(
            "port type", #""debug":{"port":"9001"}"#,
            "1:67: error: sandboxes[0].debug.port: expected a number, found a string"),
        .sandbox(
            "port zero", #""debug":{"port":0}"#,
            "1:67: error: sandboxes[0].debug.port: 0 is not a port (allowed 1-65535)"),
        .sandbox(
            "port below zero", #""debug":{"port":-1}"#,
            "1:67: error: sandboxes[0].debug.port: -1 is not a port (allowed 1-65535)"),
        .sandbox(
            "port of 30 digits", #""debug":{"port":999999999999999999999999999999}"#,
            "1:67: error: sandboxes[0].debug.port: 999999999999999999999999999999 is not a port (allowed 1-65535)"
        ),
        .sandbox(
            "port fraction", #""debug":{"port":9001.5}"#,
            "1:67: error: sandboxes[0].debug.port: 9001.5 is not a whole number"),
        .sandbox(
            "enum near miss", #""hypervisor":"kvn""#,
            """
            1:64: error: sandboxes[0].hypervisor: "kvn" is not one of: auto, kvm, mshv, emulator
                hint: did you mean "kvm"?
            """),
        .sandbox(
            "driver twice", #""hypervisor":["kvm","kvm"]"#,
            #"1:71: error: sandboxes[0].hypervisor[1]: "kvm" stands twice in the list"#),
        .sandbox(
            "no driver", #""hypervisor":[]"#,
            "1:64: error: sandboxes[0].hypervisor: the list of drivers is empty"),
        .sandbox(
            "kilobytes", #""memory":{"heap":"64KB"}"#,
            """
            1:68: error: sandboxes[0].memory.heap: "64KB" is not a size
                hint: use KiB, MiB, GiB or bytes: "512KiB" or 524288
            """),
        .sandbox(
            "small buffer", #""memory":{"inputData":"4KiB"}"#,
            "1:73: error: sandboxes[0].memory.inputData: 4096 bytes is not an allowed size (allowed 8192-17179869183)"
        ),
        .sandbox(
            "too much together", #""memory":{"heap":"15GiB","scratch":"15GiB"}"#,
            "1:60: error: sandboxes[0].memory: 32212287488 bytes together (must stay below 16GiB)"),
        .sandbox(
            "number as duration", #""debug":{"waitTimeout":5}"#,
            #"1:74: error: sandboxes[0].debug.waitTimeout: expected a time span such as "5s", found a number"#
        ),
        .sandbox(
            "access near miss", #""debug":{"access":"readonly"}"#,
            """
            1:69: error: sandboxes[0].debug.access: "readonly" is not one of: read-write, read-only
                hint: did you mean "read-only"?
            """),
        .sandbox(
            "access as a truth", #""debug":{"access":true}"#,
            "1:69: error: sandboxes[0].debug.access: expected a string, found true or false"),
        .sandbox(
            "crash action near miss", #""debug":{"onCrash":"hols"}"#,
            """
            1:70: error: sandboxes[0].debug.onCrash: "hols" is not one of: end, hold, wait
                hint: did you mean "hold"?
            """),
        .sandbox(
            "crash action far miss", #""debug":{"onCrash":"restart"}"#,
            #"1:70: error: sandboxes[0].debug.onCrash: "restart" is not one of: end, hold, wait"#),
        .sandbox(
            "debug key near miss", #""debug":{"onCrsh":"hold"}"#,
            """
            1:60: error: sandboxes[0].debug.onCrsh: unknown key
                hint: did you mean "onCrash"?
            """),
        .sandbox(
            "later debug key", #""debug":{"relayOutput":true}"#,
            "1:60: error: sandboxes[0].debug.relayOutput: unknown key\n    hint: not supported by this version"
        ),
        .sandbox(
            "remote without consent", #""debug":{"port":1,"address":"0.0.0.0"}"#,
            """
            1:79: error: sandboxes[0].debug.address: 0.0.0.0 is not a loopback address
                hint: a debugger reads and writes all guest memory without a password; say "allowRemote": true to accept that
            """),
        .sandbox(
            "remote with consent",
            #""debug":{"port":1,"address":"0.0.0.0","allowRemote":true}"#,
            "1:79: warning: sandboxes[0].debug.address: 0.0.0.0 lets other machines debug this sandbox without a password"
        ),
        .sandbox(
            "host name", #""debug":{"port":1,"address":"localhost"}"#,
            #"1:79: error: sandboxes[0].debug.address: "localhost" is not a numeric IPv4 or IPv6 address"#
        ),
        .sandbox(
            "empty path", #""symbols":"""#, "1:61: error: sandboxes[0].symbols: the path is empty"),
        .sandbox(
            "label type", #""labels":{"a":1}"#,
            "1:65: error: sandboxes[0].labels.a: expected a string, found a number"),
        .sandbox(
            "later key", #""crash":{}"#,
            "1:51: error: sandboxes[0].crash: unknown key\n    hint: not supported by this version"
        ),
    ]
}
