import ControlAPI
import Foundation
import GuestModel
import Testing

@testable import ControlClient

@Suite struct DebuggerFileTests {
    private static let both = DebugStatus(
        state: .listening, address: "127.0.0.1:9001", unixSocket: "/run/a/gdb.sock")

    private func file(
        _ kind: DebuggerFile.Kind, _ debug: DebugStatus = both, symbols: String = "/g/counter",
        isUsableSocket: Bool = false
    ) throws -> DebuggerFile {
        try DebuggerFile(
            kind, details(debug, symbols: symbols), gdbPath: "/usr/bin/gdb",
            isUsableSocket: { _ in isUsableSocket })
    }

    @Test func `launch json has an entry for gdb and one for lldb`() throws {
        let file = try file(.vscode)
        #expect(file.path == ".vscode/launch.json")
        #expect(
            file.text == """
                {
                  "configurations" : [
                    {
                      "MIMode" : "gdb",
                      "cwd" : "${workspaceFolder}",
                      "hardwareBreakpoints" : {
                        "limit" : 4,
                        "require" : false
                      },
                      "miDebuggerPath" : "/usr/bin/gdb",
                      "miDebuggerServerAddress" : "127.0.0.1:9001",
                      "name" : "a (gdb)",
                      "program" : "/g/counter",
                      "request" : "launch",
                      "setupCommands" : [
                        {
                          "ignoreFailures" : true,
                          "text" : "-enable-pretty-printing"
                        },
                        {
                          "ignoreFailures" : true,
                          "text" : "-gdb-set disassembly-flavor intel"
                        }
                      ],
                      "stopAtConnect" : true,
                      "stopAtEntry" : true,
                      "type" : "cppdbg"
                    },
                    {
                      "name" : "a (lldb)",
                      "processCreateCommands" : [
                        "gdb-remote 127.0.0.1:9001"
                      ],
                      "request" : "launch",
                      "targetCreateCommands" : [
                        "target create /g/counter"
                      ],
                      "type" : "lldb"
                    }
                  ],
                  "version" : "0.2.0"
                }

                """)
    }

    /// The parts of a launch file that this test looks at.
    private struct Launch: Decodable {
        struct Entry: Decodable {
            let type: String
            let program: String?
            let miDebuggerServerAddress: String?
            let targetCreateCommands: [String]?
        }
        let configurations: [Entry]
    }

    private func launch(_ file: DebuggerFile) throws -> [Launch.Entry] {
        try JSONDecoder().decode(Launch.self, from: Data(file.text.utf8)).configurations
    }

    @Test(arguments: ["/it's \"here\"", #"/back\slash"#, "/tab le", "/zähler", "/`a` $b {c}"])
    func `whatever a path is called, it arrives as it is`(_ path: String) throws {
        let entries = try launch(try file(.vscode, symbols: path))
        #expect(entries[0].program == path)
        let escaped = try #require(entries[1].targetCreateCommands?.first)
        #expect(escaped == "target create " + DebuggerScript.escaped(path, for: .lldb))
        // Both take one backslash away, and it stands before every sign that means something.
        var plain = ""
        var rest = escaped.dropFirst("target create ".count)[...]
        while let first = rest.popFirst() {
            plain.append(first == "\\" ? rest.popFirst() ?? first : first)
        }
        #expect(plain == path)
    }

    @Test func `without a port gdb gets the socket, and lldb nothing`() throws {
        let debug = DebugStatus(state: .listening, unixSocket: "/run/a/gdb.sock")
        let entries = try launch(try file(.vscode, debug, isUsableSocket: true))
        #expect(entries.map(\.type) == ["cppdbg"])
        #expect(entries[0].miDebuggerServerAddress == "/run/a/gdb.sock")
        #expect(throws: Failure.self) { try file(.lldb, debug, isUsableSocket: true) }
        #expect(throws: Failure.notDebuggable("a", "no permission to use /run/a/gdb.sock")) {
            try file(.vscode, debug, isUsableSocket: false)
        }
    }

    @Test func `the file for gdb loads symbols and attaches`() throws {
        let file = try file(.gdb, isUsableSocket: true)
        #expect(file.path == "a.gdb")
        #expect(
            file.text == """
                # Attaches gdb to the sandbox a: gdb -x a.gdb
                set architecture i386:x86-64
                set disassembly-flavor intel
                file /g/counter
                target remote /run/a/gdb.sock

                """)
    }

    @Test func `the file for lldb creates a target and attaches`() throws {
        let file = try file(.lldb, symbols: "/g/my counter", isUsableSocket: true)
        #expect(file.path == "a.lldb")
        #expect(
            file.text == """
                # Attaches lldb to the sandbox a: lldb -s a.lldb
                settings set target.x86-disassembly-flavor intel
                target create /g/my\\ counter
                gdb-remote 127.0.0.1:9001

                """)
    }

    @Test(arguments: DebuggerFile.Kind.allCases, ["/a\nshell rm", "/a\u{1B}[2J", "/a\u{202E}b"])
    func `a path that would drive a terminal or begin a command is refused`(
        _ kind: DebuggerFile.Kind, _ path: String
    ) {
        #expect(throws: Failure.self) { try file(kind, symbols: path) }
    }

    @Test(arguments: DebuggerFile.Kind.allCases)
    func `debugging that is off is said so`(_ kind: DebuggerFile.Kind) {
        #expect(throws: Failure.notDebuggable("a", "debugging is off for this sandbox")) {
            try file(kind, DebugStatus(state: .off))
        }
    }
}

@Suite struct NewFileTests {
    private func withFolder(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/newfile.XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOfFile: path, encoding: .utf8)
    }

    @Test func `a file and the folder above it are made`() throws {
        try withFolder { folder in
            let path = try NewFile.write("text\n", to: ".vscode/launch.json", below: folder)
            #expect(path == folder + "/.vscode/launch.json")
            #expect(try text(path) == "text\n")
            let second = try NewFile.write("", to: ".vscode/other", below: folder + "/")
            #expect(try text(second) == "")
        }
    }

    @Test func `what is there stays as it is, also behind a link`() throws {
        try withFolder { folder in
            let path = try NewFile.write("first", to: "a.gdb", below: folder)
            #expect(throws: Failure.fileExists(path)) {
                try NewFile.write("second", to: "a.gdb", below: folder)
            }
            #expect(try text(path) == "first")
            symlink("nowhere", folder + "/b.gdb")
            #expect(throws: Failure.fileExists(folder + "/b.gdb")) {
                try NewFile.write("second", to: "b.gdb", below: folder)
            }
            #expect(access(folder + "/nowhere", F_OK) != 0)
        }
    }

    @Test func `a folder that is not there is not made`() throws {
        try withFolder { folder in
            for path in ["a.gdb", ".vscode/launch.json"] {
                let failure = #expect(throws: Failure.self) {
                    try NewFile.write("", to: path, below: folder + "/absent")
                }
                #expect(failure?.exitCode == 73)
                #expect(failure?.text?.contains("No such file") == true)
            }
            #expect(access(folder + "/absent", F_OK) != 0)
        }
    }
}
