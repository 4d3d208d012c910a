import ControlAPI
import GuestModel
import Testing

@testable import ControlClient

struct StatusTableTests {
    @Test func `the table is aligned and relative`() {
        var counter = SandboxStatus(
            name: "counter", state: .running, since: "1970-01-01T00:00:00Z",
            debug: DebugStatus(
                state: .attached, address: "127.0.0.1:9001", client: "127.0.0.1:51320"))
        counter.driver = DriverStatus(name: .kvm, isLimited: true)
        counter.workerPID = 4711
        counter.workerResidentBytes = 11_744_052
        counter.restarts = 3
        let a = SandboxStatus(
            name: "a", state: .waiting, since: "1970-01-01T02:04:00Z",
            debug: DebugStatus(state: .listening, address: "127.0.0.1:9002", unixSocket: "/x"))
        let b = SandboxStatus(
            name: "b", state: .crashed, since: "nonsense",
            debug: DebugStatus(
                state: .unavailable, unixSocket: "/y", detail: "port 9001 used by counter"))
        #expect(
            StatusTable.text([counter, a, b], now: 7452) == """
                NAME     STATE    SINCE  RESTARTS  DRIVER         PID   MEM    DEBUG
                counter  running  2h04m  3         kvm (limited)  4711  11.2M  127.0.0.1:9001 attached 127.0.0.1:51320
                a        waiting  12s    0         -              -     -      held, 127.0.0.1:9002
                b        crashed  -      0         -              -     -      unavailable (port 9001 used by counter)

                """)
    }

    @Test func `a line says when the next start is, and who does not answer`() {
        var waits = SandboxStatus(
            name: "a", state: .backoff, since: "", debug: DebugStatus(state: .off))
        waits.retryMilliseconds = 1659
        var hangs = SandboxStatus(
            name: "b", state: .running, since: "",
            debug: DebugStatus(state: .listening, unixSocket: "/x"))
        hangs.unresponsive = ["worker", "stub"]
        let lines = StatusTable.text([waits, hangs], now: 0).split(separator: "\n")
        #expect(lines[1].hasSuffix("  off  retry in 1.6s"))
        #expect(lines[2].hasSuffix("  unix  worker unresponsive  stub unresponsive"))
    }

    @Test func `an empty list is only the header`() {
        #expect(StatusTable.text([], now: 0).split(separator: "\n").count == 1)
    }

    @Test(
        arguments: [
            (0, "0s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"),
            (7440, "2h04m"),
            (86399, "23h59m"), (86400, "1d00h"), (273_600, "3d04h"), (-5, "0s"),
        ] as [(Int64, String)])
    func `a time is shown in two units`(_ seconds: Int64, _ text: String) {
        let start = Int64(1000)
        let since = Timestamp.text(secondsSinceEpoch: start)
        #expect(StatusTable.age(since, now: start + seconds) == text)
    }

    @Test(
        arguments: [
            (0, "0B"), (1023, "1023B"), (1024, "1.0K"), (1536, "1.5K"), (1 << 20, "1.0M"),
            (11_744_052, "11.2M"), (1 << 30, "1.0G"), (UInt64.max, "16777215.9T"),
        ] as [(UInt64, String)])
    func `a size has one decimal`(_ bytes: UInt64, _ text: String) {
        #expect(StatusTable.size(bytes) == text)
    }

    @Test func `characters that turn around or hide their neighbours do not either`() {
        #expect(TextTable.printable("a\u{202E}b\u{200B}c\u{2028}d\u{E9}") == "a?b?c?d\u{E9}")
    }

    @Test func `control characters do not reach the terminal`() {
        var table = TextTable(header: ["A"])
        table.append(["x\u{1B}[2J"])
        #expect(table.text == "A\nx?[2J\n")
    }

    @Test func `names choose and order, an unknown one is refused`() throws {
        let all = ["a", "b"].map {
            SandboxStatus(name: $0, state: .ready, since: "", debug: DebugStatus(state: .off))
        }
        #expect(try StatusCommand.selected([], from: all).map(\.name) == ["a", "b"])
        #expect(try StatusCommand.selected(["b"], from: all).map(\.name) == ["b"])
        #expect(throws: Failure.unknownSandboxes(["x", "y"])) {
            try StatusCommand.selected(["x", "a", "y"], from: all)
        }
    }
}

struct SocketPathTests {
    @Test(
        arguments: [
            ("/o", ["HYPERLIGHT_SOCKET": "/e"], true, "/o"),
            (nil, ["HYPERLIGHT_SOCKET": "/e", "RUNTIME_DIRECTORY": "/r"], true, "/e"),
            (
                nil, ["RUNTIME_DIRECTORY": "/r:/s", "XDG_RUNTIME_DIR": "/x"], true,
                "/r/control.sock"
            ),
            (nil, ["XDG_RUNTIME_DIR": "/x"], true, "/run/hyperlight/control.sock"),
            (nil, ["XDG_RUNTIME_DIR": "/x"], false, "/x/hyperlight/control.sock"),
        ] as [(String?, [String: String], Bool, String)])
    func `the socket is found in the documented order`(
        _ option: String?, _ environment: [String: String], _ isRoot: Bool, _ expected: String
    ) throws {
        let path = try ControlOptions.socketPath(
            option: option, environment: environment, isRoot: isRoot)
        #expect(path == expected)
    }

    @Test func `without a folder the variables are named`() {
        let failure = Failure.noSocketPath([
            "HYPERLIGHT_SOCKET", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR",
        ])
        #expect(throws: failure) {
            try ControlOptions.socketPath(
                option: nil, environment: ["XDG_RUNTIME_DIR": "relative"], isRoot: false)
        }
        #expect(failure.exitCode == 73)
    }
}

struct DebuggerCommandTests {
    private static let both = DebugStatus(
        state: .listening, address: "127.0.0.1:9001", unixSocket: "/run/a/gdb.sock")

    @Test func `the command attaches with symbols loaded`() throws {
        let command = try DebuggerCommand(
            details(Self.both), scripts: ["my script"], arguments: ["-batch"],
            isUsableSocket: { _ in false })
        #expect(
            command.shellText
                == "gdb -q -iex 'set auto-load no' -ex 'set architecture i386:x86-64' "
                + "-ex 'set disassembly-flavor intel' -ex 'file /g/counter' "
                + "-ex 'target remote 127.0.0.1:9001' -x 'my script' -batch")
    }

    @Test func `lldb gets its own words, and always the TCP address`() throws {
        let command = try DebuggerCommand(
            details(Self.both, symbols: "/it's `here`"), debugger: .lldb, scripts: ["my script"],
            arguments: ["-b"], isUsableSocket: { _ in true })
        #expect(
            command.words == [
                "lldb", "-o", "settings set target.x86-disassembly-flavor intel", "-o",
                #"target create /it\'s\ \`here\`"#, "-o", "gdb-remote 127.0.0.1:9001", "-s",
                "my script", "-b",
            ])
    }

    @Test func `lldb without a TCP port is told what to do`() {
        let unix = DebugStatus(state: .listening, unixSocket: "/s")
        #expect(
            throws: Failure.notDebuggable(
                "a",
                "lldb needs a TCP port, and this sandbox has none; set debug.port in the "
                    + "configuration, or use gdb")
        ) {
            try DebuggerCommand(details(unix), debugger: .lldb, isUsableSocket: { _ in true })
        }
        let taken = DebugStatus(state: .listening, unixSocket: "/s", detail: "port 9001 used by b")
        #expect(
            throws: Failure.notDebuggable(
                "a", "lldb needs a TCP port, and this sandbox has none: port 9001 used by b")
        ) {
            try DebuggerCommand(details(taken), debugger: .lldb, isUsableSocket: { _ in true })
        }
    }

    @Test(arguments: [
        ("0.0.0.0:9001", "127.0.0.1:9001"), ("[::]:9001", "[::1]:9001"),
        ("192.0.2.1:9001", "192.0.2.1:9001"), ("[::1]:9001", "[::1]:9001"),
    ])
    func `a door on all addresses is entered by the loopback`(
        _ address: String, _ target: String
    ) throws {
        let debug = DebugStatus(state: .listening, address: address)
        for debugger in [Debugger.gdb, .lldb] {
            let command = try DebuggerCommand(
                details(debug), debugger: debugger, isUsableSocket: { _ in false })
            #expect(command.words.last?.hasSuffix(" " + target) == true)
        }
    }

    @Test func `a usable Unix socket wins`() throws {
        let command = try DebuggerCommand(
            details(Self.both), isUsableSocket: { $0 == "/run/a/gdb.sock" })
        #expect(command.words.last == "target remote /run/a/gdb.sock")
    }

    @Test func `after a port conflict only the Unix socket is left`() throws {
        let debug = DebugStatus(
            state: .unavailable, address: "127.0.0.1:9001", unixSocket: "/s",
            detail: "port 9001 used by b")
        let command = try DebuggerCommand(details(debug), isUsableSocket: { _ in true })
        #expect(command.words.last == "target remote /s")
        #expect(throws: Failure.notDebuggable("a", "no permission to use /s")) {
            try DebuggerCommand(details(debug), isUsableSocket: { _ in false })
        }
    }

    @Test func `debugging that is off is said so`() {
        #expect(throws: Failure.notDebuggable("a", "debugging is off for this sandbox")) {
            try DebuggerCommand(details(DebugStatus(state: .off)), isUsableSocket: { _ in true })
        }
    }

    @Test func `what drives a terminal is spelled out`() throws {
        let command = try DebuggerCommand(
            details(Self.both, symbols: "/a\u{1B}[2J%s"), isUsableSocket: { _ in false })
        #expect(command.shellText.contains(#"-ex "$(printf -- 'file\040/a\033\1332J\045s')" -ex"#))
        #expect(command.shellText.utf8.allSatisfy { (0x20..<0x7F).contains($0) })
    }

    @Test func `odd paths are quoted for gdb and for the shell`() throws {
        let command = try DebuggerCommand(
            details(Self.both, symbols: "/it's here"), isUsableSocket: { _ in false })
        #expect(command.words.contains(#"file /it\'s\ here"#))
        #expect(command.shellText.contains(#"'file /it\'\''s\ here'"#))
        #expect(throws: Failure.self) {
            try DebuggerCommand(
                details(Self.both, symbols: "/a\nshell rm"), isUsableSocket: { _ in true })
        }
    }
}

/// A sandbox named a, with this debug door and this file of symbols.
func details(_ debug: DebugStatus, symbols: String = "/g/counter") -> SandboxDetails {
    SandboxDetails(
        status: SandboxStatus(name: "a", state: .waiting, since: "", debug: debug),
        guest: "/g", symbols: symbols, abi: .bare,
        memory: MemoryDetails(heap: 0, scratch: 0, inputData: 0, outputData: 0), labels: [:],
        config: ConfigDetails(
            source: "", mode: "", hypervisor: [], debugStartup: "", debugOnDisconnect: "",
            debugOnKill: "", debugOnCrash: "", debugAccess: "",
            debugWaitTimeoutMilliseconds: 0,
            restart: RestartDetails(
                policy: "never", initialDelayMilliseconds: 0, maxDelayMilliseconds: 0, burst: 1,
                windowMilliseconds: 1)),
        isolation: IsolationDetails(
            profile: .container, required: [], diagnose: false, processes: []))
}
