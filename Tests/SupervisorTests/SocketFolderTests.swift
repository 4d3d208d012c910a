import Foundation
import GuestModel
import LinuxListening
import LinuxSystem
import SandboxConfig
import Testing

@testable import Supervisor

struct SocketFolderTests {
    private let folder: TemporaryFolder
    private var socket: String { folder.path + "/c.sock" }

    init() throws { folder = try TemporaryFolder() }

    /// Makes the folder and, with `cleansUp`, ends it properly; why it could not be made.
    private func problem(_ controlSocket: String? = nil, cleansUp: Bool = false) -> SupervisorError?
    {
        do throws(SupervisorError) {
            let made = try SocketFolder.make(
                controlSocket: controlSocket ?? socket, standard: nil)
            if cleansUp { made.cleanUp() }
            return nil
        } catch {
            return error
        }
    }

    private func expectRefusal(_ problem: SupervisorError?, _ text: String) throws {
        let problem = try #require(problem)
        #expect(problem.exit == .cannotCreate)
        #expect("\(problem)".contains(text), "\(problem)")
    }

    /// Leaves a socket behind as a killed supervisor does.
    private func leaveSocket(_ name: String) throws {
        _ = try listenUnix(path: folder.path + "/" + name, kind: .stream, backlog: 1)
    }

    @Test
    func `sockets that a killed supervisor left are removed, everything else stays`() throws {
        try folder.makeFolder("private", mode: 0o700)
        try folder.makeFolder("sandboxes", mode: 0o755)
        try folder.makeFolder("sandboxes/a", mode: 0o755)
        for name in ["c.sock", "private/a", "sandboxes/a/gdb.sock"] { try leaveSocket(name) }
        for name in ["private/diary", "sandboxes/note"] { try folder.write(name, "mine") }
        try folder.link("private/link", to: "diary")
        for cleansUp in [false, true] {
            #expect(problem(cleansUp: cleansUp) == nil)
            for name in ["c.sock", "private/a", "sandboxes/a"] { #expect(!folder.has(name)) }
            try #expect(folder.read("private/diary") == "mine")
            try #expect(folder.read("sandboxes/note") == "mine")
            #expect(folder.has("private/link"))
        }
    }

    @Test
    func `a control socket's name that is a file stays a file`() throws {
        try folder.write("c.sock", "mine")
        #expect(problem(cleansUp: true) == nil)
        try #expect(folder.read("c.sock") == "mine")
    }

    @Test
    func `a folder in which others can replace sockets is refused`() throws {
        try folder.makeFolder("sandboxes", mode: 0o777)
        try leaveSocket("c.sock")
        try expectRefusal(problem(), "sandboxes is not a folder that this user alone can write to")
        #expect(folder.has("c.sock"))
    }

    @Test
    func `all that it made is removed but the lock`() throws {
        #expect(problem(cleansUp: true) == nil)
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(left == ["supervisor.lock"])
    }

    @Test(arguments: [0o755, 0o770, 0o701])
    func `a private folder that others can enter is refused`(mode: Int) throws {
        try folder.makeFolder("private", mode: mode)
        try folder.write("private/diary", "mine")
        try expectRefusal(problem(), "private is not a folder of this user alone")
        #expect(folder.has("private/diary"))
    }

    @Test
    func `a private folder that is a link or a file is refused`() throws {
        try folder.makeFolder("elsewhere", mode: 0o700)
        try folder.link("private", to: "elsewhere")
        try expectRefusal(problem(), "cannot create")
        try FileManager.default.removeItem(atPath: folder.path + "/private")
        try folder.write("private", "mine")
        try expectRefusal(problem(), "cannot create")
        try #expect(folder.read("private") == "mine")
    }

    @Test
    func `a lock that is a link is not followed`() throws {
        try folder.write("other", "mine")
        try folder.link("supervisor.lock", to: "other")
        try expectRefusal(problem(), "supervisor.lock")
        try #expect(folder.read("other") == "mine")
    }

    @Test
    func `only one supervisor has the folder at a time`() throws {
        let first = try SocketFolder.make(controlSocket: socket, standard: nil)
        try leaveSocket("c.sock")
        try expectRefusal(problem(), "another supervisor holds")
        #expect(folder.has("c.sock"))
        first.cleanUp()
    }

    @Test
    func `a path that no socket can have is refused`() throws {
        let long = folder.path + "/" + String(repeating: "x", count: 108 - folder.path.utf8.count)
        try expectRefusal(problem(long), "too long for a socket")
        try expectRefusal(problem(folder.path + "/no/such/c.sock"), "no/such")
    }

    @Test
    func `without any folder the variables are named`() throws {
        do throws(SupervisorError) {
            _ = try SocketFolder.make(controlSocket: nil, standard: nil)
            Issue.record("there is no folder")
        } catch {
            try expectRefusal(error, "XDG_RUNTIME_DIR")
        }
    }

    @Test
    func `the standard folder is that of the control program`() throws {
        let standard = RuntimeFolder(
            environment: ["RUNTIME_DIRECTORY": folder.path + ":/other"], isRoot: false)
        let made = try SocketFolder.make(controlSocket: nil, standard: standard)
        #expect(made.controlSocket == folder.path + "/control.sock")
        let name = try #require(SandboxName("a"))
        let paths = made.paths(of: name)
        #expect(paths.debugSocket == standard?.debugSocket(of: "a"))
        #expect(paths.workerSocket == folder.path + "/private/a")
        made.cleanUp()
    }
}
