import ControlAPI
import Glibc
import GuestModel
import Logging
import Supervisor
import Testing

@testable import ControlClient

/// A core with one sandbox, `a`, that waits, and one, `ended`, that does not run.
private struct FakeCore: SupervisorCore {
    static func status(_ name: String, _ state: SandboxState) -> SandboxStatus {
        SandboxStatus(name: name, state: state, since: "", debug: DebugStatus(state: .off))
    }

    func ask(_ request: ControlRequest) async -> ControlReply {
        switch (request, request.sandbox?.text) {
        case (.list, _): .list([Self.status("a", .waiting), Self.status("ended", .finished)])
        case (_, "ended"): .conflict("the guest has finished")
        case (.resume, "a"): .accepted(Self.status("a", .running))
        case (.restartStub, "a"): .conflict("debugging is off")
        case (.details, _), (.resume, _), (.restartStub, _), (.start, _), (.stop, _), (.kill, _),
            (.restart, _), (.takeOver, _):
            .notFound
        }
    }
}

struct ControlConnectionTests {
    @Test func `a list arrives whole`() async throws {
        try await withConnection { connection in
            let list = try await connection.list()
            #expect(list.map(\.name) == ["a", "ended"])
        }
    }

    @Test func `refusals arrive in the supervisor's words, with their exit codes`() async throws {
        let a = try #require(SandboxName("a"))
        let ended = try #require(SandboxName("ended"))
        let ghost = try #require(SandboxName("ghost"))
        try await withConnection { connection in
            let resumed = try await connection.change(.resume(a))
            #expect(resumed.state == .running)
            await #expect(throws: Failure.notRunning(["ended (the guest has finished)"])) {
                try await connection.change(.resume(ended))
            }
            let conflict = await #expect(throws: Failure.self) {
                try await connection.change(.restartStub(a))
            }
            #expect(conflict?.exitCode == 75)
            #expect(conflict?.text == "debugging is off")
            let unknown = await #expect(throws: Failure.self) {
                let _: SandboxDetails = try await connection.value(of: .details(ghost))
            }
            #expect(unknown?.exitCode == 4)
            #expect(unknown?.text == "no sandbox \"ghost\" in the configuration")
        }
    }

    @Test func `no supervisor is said so with exit code 69`() async throws {
        let path = "/tmp/no-such-folder/control.sock"
        let failure = await #expect(throws: Failure.self) {
            try await ControlConnection(socketPath: path).list()
        }
        #expect(failure == .notReachable(path, "No such file or directory"))
        #expect(failure?.exitCode == 69)
    }

    private func withConnection(
        _ body: (ControlConnection) async throws -> Void
    ) async throws {
        var template = Array("/tmp/controlclient.XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let path = folder + "/control.sock"
        defer {
            unlink(path)
            rmdir(folder)
        }
        let (events, event) = AsyncStream<String?>.makeStream()
        let server = ControlServer(
            socketPath: path, core: FakeCore(), logger: Logger(label: "test"),
            onReady: { event.yield("ready") })
        server.start { event.yield($0) }
        var iterator = events.makeAsyncIterator()
        #expect(await iterator.next() == "ready")
        try await body(ControlConnection(socketPath: path))
        server.requestStop()
        #expect(await iterator.next() == .some(nil))
    }
}

struct DoctorTests {
    @Test(arguments: [
        ("GNU gdb (Debian 13.1-3) 13.1", 13), ("GNU gdb (GDB) 15.0.50", 15), ("", nil),
        ("sh: gdb: not found", nil),
    ])
    func `the version of gdb is read from its first line`(_ line: String, _ version: Int?) {
        #expect(Doctor.gdbVersion(line) == version)
    }

    @Test func `a program's first line and success are seen`() {
        let result = Probe.run(["sh", "-c", "echo one; echo two"])
        #expect(result.isSuccess)
        #expect(result.firstLine == "one")
        #expect(!Probe.run(["false"]).isSuccess)
        #expect(!Probe.run(["/no/such/program"]).isSuccess)
    }

    @Test func `the machine gets a finding for everything that is looked at`() {
        let names = Doctor.machineReport().checks.map(\.name)
        for name in ["kvm-device", "emulator-driver", "seccomp", "landlock", "gdb"] {
            #expect(names.contains(name))
        }
    }
}
