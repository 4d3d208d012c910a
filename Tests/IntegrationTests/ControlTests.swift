import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// `hyperlight-ctl` against a real supervisor.
    @Suite(.serialized)
    struct Control {
        /// A held counter with a port, a guest without debugging that has ended.
        private func withSandboxes(_ body: (RunningSupervisor) throws -> Void) throws {
            let entries = [
                SandboxEntry("counter", "counter", port: try RunningSupervisor.freePort()),
                SandboxEntry("hello", "hello"),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForHeldGuest("counter")
                try supervisor.waitForEvent("hello", "sandbox.state", containing: "-> finished")
                try body(supervisor)
            }
        }

        @Test
        func `a guest's lines are in the log, in order`() throws {
            try withSandboxes { supervisor in
                let lines = supervisor.log.filter {
                    $0.event == "guest.output" && $0.sandbox == "hello"
                }
                #expect(lines.count == 3)
                #expect(lines.first?.msg == "Hello from a micro-VM.")
                #expect(lines.last?.msg == "Goodbye.")
            }
        }

        @Test
        func `status and show tell of every sandbox`() throws {
            try withSandboxes { supervisor in
                let (ending, table) = try supervisor.control(["status"])
                #expect(ending == .exit(0))
                #expect(table.contains(#/counter +waiting/#), "\(table)")
                #expect(table.contains(#/hello +finished/#), "\(table)")
                let (_, details) = try supervisor.control(["show", "counter"])
                #expect(details.contains(Machine.guest("counter")), "\(details)")
                #expect(details.contains("emulator"), "\(details)")
            }
        }

        @Test
        func `debug becomes gdb, attached, with symbols`() throws {
            try withSandboxes { supervisor in
                let gdb = try RunningProgram(
                    Machine.program("hyperlight-ctl"),
                    [
                        "debug", "counter", "--socket", supervisor.socket, "--", "-nx", "-batch",
                        "-ex", "break tick", "-ex", "continue", "-ex", "bt", "-ex", "detach",
                    ])
                defer { gdb.end() }
                try #expect(gdb.waitForEnd(.seconds(20)) == .exit(0))
                _ = gdb.output.waitForEnd(.seconds(5))
                #expect(gdb.output.text.contains("Breakpoint 1, tick ()"), "\(gdb.output.text)")
                #expect(gdb.output.text.contains("in guest_main ()"))
                try supervisor.expectTicking("counter", try GuestImage.named("counter"))
            }
        }

        /// What is asked, and the exit code that says why not.
        static let refusals: [(words: [String], code: Int32, text: String)] = [
            (["status", "nobody"], 4, "nobody"),
            (["show", "nobody"], 4, "nobody"),
            (["resume", "hello"], 3, "hello"),
            (["stub", "restart", "hello"], 3, "hello"),
            (["debug", "hello"], 3, "hello"),
            (["status", "--nonsense"], 64, "nonsense"),
        ]

        @Test(arguments: refusals)
        func `a refusal names the sandbox and has an exit code of its own`(
            refusal: (words: [String], code: Int32, text: String)
        ) throws {
            try withSandboxes { supervisor in
                let (ending, text) = try supervisor.control(refusal.words)
                #expect(ending == .exit(refusal.code), "\(text)")
                #expect(text.contains(refusal.text), "\(text)")
            }
        }

        @Test
        func `without a supervisor the exit code is 69, and doctor still works`() throws {
            let folder = try RunningSupervisor.makeFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let program = Machine.program("hyperlight-ctl")
            let status = try RunningProgram(program, ["status", "--socket", folder + "/no.sock"])
            defer { status.end() }
            try #expect(status.waitForEnd(.seconds(10)) == .exit(69))
            let doctor = try RunningProgram(program, ["doctor", "--socket", folder + "/no.sock"])
            defer { doctor.end() }
            try #expect(doctor.waitForEnd(.seconds(30)) == .exit(0), "\(doctor.output.text)")
            #expect(doctor.output.text.contains("emulator"), "\(doctor.output.text)")
        }
    }
}
