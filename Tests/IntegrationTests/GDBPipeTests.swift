import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// `hyperlight-ctl gdb-pipe` under a real gdb.
    @Suite(.serialized)
    struct GDBPipes {
        private let counter: GuestImage

        init() throws { counter = try GuestImage.named("counter") }

        private func withCounter(
            port: UInt16? = nil, _ body: (RunningSupervisor) throws -> Void
        ) throws {
            try RunningSupervisor.with([SandboxEntry("a", "counter", port: port, startup: "run")]) {
                try $0.waitForEvent("a", "sandbox.state", containing: "-> running")
                try body($0)
            }
        }

        private func pipe(_ supervisor: RunningSupervisor, _ words: String...) -> String {
            let program = Machine.program("hyperlight-ctl")
            let all = [program, "gdb-pipe", "a", "--socket", supervisor.socket] + words
            return "target remote | " + all.joined(separator: " ")
        }

        private func run(_ supervisor: RunningSupervisor, _ words: [String]) throws
            -> RunningProgram
        {
            try RunningProgram(
                Machine.program("hyperlight-ctl"),
                ["gdb-pipe", "a", "--socket", supervisor.socket] + words)
        }

        @Test(arguments: Driver.sample)
        func `gdb debugs over a pipe as over a socket`(_ driver: Driver) throws {
            let entry = SandboxEntry("a", "counter", on: driver, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let text = try GDB.run(
                    [
                        pipe(supervisor), "break tick", "continue", "bt", "x/2i $pc",
                        "output ticks", "stepi", "detach",
                    ], file: counter.path)
                #expect(text.contains("Breakpoint 1, tick ()"), "\(text)")
                #expect(text.contains("in guest_main ()"), "\(text)")
                try supervisor.waitForEvent("a", "debug.attached", containing: "unix")
                try supervisor.waitForEvent("a", "debug.detached")
                try supervisor.expectOriginalCode("a", counter, ["tick"])
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test(.enabled(if: getuid() == 0, "only root can make a socket that a user may not use"))
        func `who may not use the socket gets the TCP address`() throws {
            let port = try RunningSupervisor.freePort()
            try withCounter(port: port) { supervisor in
                // The control socket is for everybody here, the debug socket for its owner.
                chmod(supervisor.folder, 0o755)
                try Deadline.wait(.seconds(5), for: "the mode of the control socket") {
                    var status = stat()
                    return stat(supervisor.socket, &status) == 0 && status.st_mode & 0o777 == 0o660
                }
                chmod(supervisor.socket, 0o666)
                let gdb = try RunningProgram(
                    "setpriv",
                    ["--reuid=65534", "--regid=65534", "--clear-groups", "gdb"] + GDB.quiet
                        + ["-batch", "-ex", pipe(supervisor), "-ex", "info registers rip"])
                defer { gdb.end() }
                try gdb.waitForEnd(.seconds(20))
                _ = gdb.output.waitForEnd(.seconds(5))
                #expect(gdb.output.text.contains("rip"), "\(gdb.output.text)")
                try supervisor.waitForEvent("a", "debug.attached", containing: "127.0.0.1:")
            }
        }

        @Test func `Ctrl-C stops the guest and not the pipe`() throws {
            try withCounter { supervisor in
                let gdb = try InteractiveGDB(symbols: counter.path, target: pipe(supervisor))
                try gdb.command("set $before = ticks")
                gdb.begin("continue")
                try supervisor.waitForWork("a") {}
                // As a terminal does it: to all processes of the group.
                kill(-gdb.processID, SIGINT)
                try gdb.waitForText("SIGINT")
                try gdb.waitForText("@@done@@")
                let text = try gdb.command("print ticks > $before")
                #expect(text.contains("= 1"), "\(text)")
                try gdb.command("detach")
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test func `a killed gdb is a lost client, and its pipe ends too`() throws {
            try withCounter { supervisor in
                let gdb = try InteractiveGDB(symbols: counter.path, target: pipe(supervisor))
                try gdb.command("break tick")
                try gdb.command("continue")
                gdb.kill()
                try supervisor.waitForEvent("a", "debug.detached", containing: "connection lost")
                try supervisor.expectOriginalCode("a", counter, ["tick"])
                try supervisor.expectTicking("a", counter)
                try Deadline.wait(.seconds(5), for: "the end of the pipe") {
                    pipesOf(supervisor).isEmpty
                }
            }
        }

        /// Processes of `gdb-pipe` that use this supervisor.
        private func pipesOf(_ supervisor: RunningSupervisor) -> [Int32] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
            return names.compactMap { Int32($0) }.filter { id in
                let words = try? String(contentsOfFile: "/proc/\(id)/cmdline", encoding: .utf8)
                return words?.contains("gdb-pipe\0a\0--socket\0\(supervisor.socket)") == true
            }
        }

        @Test func `a stub that dies ends the pipe, and the next one works`() throws {
            try withCounter { supervisor in
                let gdb = try InteractiveGDB(symbols: counter.path, target: pipe(supervisor))
                try gdb.command("break tick")
                try gdb.command("continue")
                let stub = try #require(try supervisor.status("a").stubPID)
                kill(stub, SIGKILL)
                let text = try gdb.command("stepi")
                #expect(text.contains("closed") || text.contains("isconnected"), "\(text)")
                try Deadline.wait(.seconds(5), for: "the end of the pipe") {
                    pipesOf(supervisor).isEmpty
                }
                let next = try gdb.command(pipe(supervisor))
                #expect(next.contains("Remote debugging using"), "\(next)")
                try gdb.command("detach")
            }
        }

        @Test func `with take-over it takes the place of another, without it gdb shows how`() throws
        {
            try withCounter { supervisor in
                let first = try RSPClient(supervisor.debugSocket("a"))
                try first.attach()
                try supervisor.waitForEvent("a", "debug.attached")
                let refused = try GDB.run([pipe(supervisor)], file: counter.path)
                #expect(refused.contains("is being debugged by"), "\(refused)")
                #expect(refused.contains("--take-over"), "\(refused)")
                let pipe = try run(supervisor, [])
                defer { pipe.end() }
                try #expect(pipe.waitForEnd(.seconds(10)) == .exit(75))
                let text = try GDB.run(
                    [self.pipe(supervisor, "--take-over"), "info registers rip", "detach"],
                    file: counter.path)
                #expect(text.contains("rip "), "\(text)")
                #expect(first.isClosed(within: .seconds(5)))
            }
        }

        @Test func `input that ends is passed on, and the pipe ends well`() throws {
            try withCounter { supervisor in
                // What a shell does: a packet, and the end of the input.
                let shell = try RunningProgram(
                    "sh",
                    [
                        "-c", "printf '+$qC#b4' | \"$0\" \"$@\"", Machine.program("hyperlight-ctl"),
                        "gdb-pipe", "a", "--socket", supervisor.socket,
                    ])
                defer { shell.end() }
                try #expect(shell.waitForEnd(.seconds(10)) == .exit(0))
                _ = shell.output.waitForEnd(.seconds(5))
                try supervisor.waitForEvent("a", "debug.detached", containing: "connection lost")
                try supervisor.expectTicking("a", counter)
            }
        }

        @Test func `output that nobody takes ends it silently`() throws {
            try withCounter { supervisor in
                // Its input stays open: only that nobody reads can end it.
                let shell = try RunningProgram(
                    "bash",
                    [
                        "-c", "\"$0\" \"$@\" | true; echo code=${PIPESTATUS[0]}",
                        Machine.program("hyperlight-ctl"), "gdb-pipe", "a", "--socket",
                        supervisor.socket,
                    ])
                defer { shell.end() }
                try #expect(shell.waitForEnd(.seconds(10)) == .exit(0))
                _ = shell.output.waitForEnd(.seconds(5))
                #expect(shell.output.text == "code=0\n")
            }
        }

        @Test func `a sandbox that does not run, or is not there, has an exit code of its own`()
            throws
        {
            let entries = [SandboxEntry("a", "hello"), SandboxEntry("off", "counter")]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> finished")
                for (name, code) in [("a", Int32(3)), ("ghost", 4), ("off", 69)] {
                    let (ending, text) = try supervisor.control(["gdb-pipe", name])
                    #expect(ending == .exit(code), "\(name): \(text)")
                    #expect(text.hasPrefix("hyperlight-ctl: "), "\(name): \(text)")
                }
            }
        }

        @Test func `a terminal is refused in words`() throws {
            // `script` gives the program a terminal.
            let program = try RunningProgram(
                "script",
                [
                    "-qec", "\(Machine.program("hyperlight-ctl")) gdb-pipe a --socket /nowhere",
                    "/dev/null",
                ])
            defer { program.end() }
            try #expect(program.waitForEnd(.seconds(10)) == .exit(64))
            #expect(program.output.text.contains("ssh -T"), "\(program.output.text)")
        }
    }
}
