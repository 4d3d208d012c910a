import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// A guest that has crashed and is kept for reading, as the supervisor shows and handles it.
    @Suite(.serialized)
    struct CrashedGuests {
        /// A guest that crashes under a client which stays.
        private func withCrash(
            _ body: (RunningSupervisor, RSPClient) throws -> Void
        ) throws {
            let entry = SandboxEntry("a", "tests/fault", startup: "wait")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let client = try RSPClient(supervisor.debugSocket("a"))
                try client.attach()
                let stop = try client.resume("c")
                #expect(stop.hasPrefix("T0b"), "\(stop)")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> crashed")
                try body(supervisor, client)
            }
        }

        @Test func `status says that a crashed guest is held`() throws {
            try withCrash { supervisor, _ in
                let status = try supervisor.status("a")
                #expect(status.state == .crashed && status.debug.state == .attached)
                #expect(status.lastError?.contains("crashed") == true)
                let (_, table) = try supervisor.control(["status"])
                #expect(table.contains("crashed") && table.contains("held, "), "\(table)")
            }
        }

        @Test func `start and resume are refused while somebody reads it, in words`() throws {
            try withCrash { supervisor, client in
                let start = try supervisor.control(["start", "a"])
                #expect(start.ending == .exit(75))
                #expect(start.text.contains("unix looks at it"), "\(start.text)")
                #expect(start.text.contains("hyperlight-ctl restart a"), "\(start.text)")
                let resume = try supervisor.control(["resume", "a"])
                #expect(resume.ending == .exit(75))
                #expect(resume.text.contains("being debugged by unix"), "\(resume.text)")
                let takeOver = try supervisor.control(["debug", "--take-over", "a"])
                #expect(takeOver.ending == .exit(75))
                #expect(takeOver.text.contains("ends when unix leaves"), "\(takeOver.text)")
                #expect(try client.readRegister(16) != 0)
            }
        }

        @Test func `restart ends it and another guest is held`() throws {
            try withCrash { supervisor, client in
                let next = supervisor.log.count
                #expect(try supervisor.control(["restart", "a"]).ending == .exit(0))
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> waiting", from: next)
                #expect(client.isClosed(within: .seconds(5)))
                try #expect(supervisor.status("a").generation == 2)
            }
        }

        @Test(arguments: [["stop", "a"], ["stop", "--now", "a"]])
        func `stop ends it for good`(_ words: [String]) throws {
            try withCrash { supervisor, client in
                let next = supervisor.log.count
                #expect(try supervisor.control(words).ending == .exit(0))
                try supervisor.waitForEvent(
                    "a", "sandbox.state", containing: "-> stopped", from: next)
                #expect(client.isClosed(within: .seconds(5)))
                try #expect(supervisor.status("a").state == .stopped)
                #expect(supervisor.children.isEmpty)
            }
        }
    }
}
