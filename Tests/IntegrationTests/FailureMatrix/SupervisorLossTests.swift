import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// The supervisor is killed or stopped (F27 and F28 of the failure matrix).
    @Suite(.serialized)
    struct SupervisorLoss {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// Four sandboxes, one of them with a port and held, one that never leaves its guest.
        private func entries(_ port: UInt16) -> [SandboxEntry] {
            [
                SandboxEntry("held", "counter", on: Driver.present[0], port: port),
                SandboxEntry("spins", "tests/spin", on: Driver.present[0], startup: "run"),
                SandboxEntry("emulated", "tests/spin", startup: "run"),
                SandboxEntry("quiet", "counter", startup: "run"),
            ]
        }

        /// Kills a supervisor with four sandboxes; milliseconds until all children were gone.
        private func killOne(_ folder: RuntimePlace) throws -> Double {
            let supervisor = try RunningSupervisor(entries(folder.port), folder: folder.path)
            defer { supervisor.program.end() }
            try supervisor.waitForHeldGuest("held")
            for name in ["spins", "emulated", "quiet"] {
                try supervisor.waitForEvent(name, "sandbox.state", containing: "-> running")
            }
            let children = supervisor.children
            #expect(children.count == 8)
            supervisor.program.signal(SIGKILL)
            let killed = ContinuousClock.now
            try Deadline.wait(.seconds(5), for: "the end of all children") {
                !children.contains(where: processLives)
            }
            return (ContinuousClock.now - killed) / .milliseconds(1)
        }

        private struct RuntimePlace {
            let path: String
            let port: UInt16
        }

        @Test
        func `F27, N15: supervisor killed: all children are gone, the next start works at once`()
            throws
        {
            let place = RuntimePlace(
                path: try RunningSupervisor.makeFolder(), port: try RunningSupervisor.freePort())
            defer { try? FileManager.default.removeItem(atPath: place.path) }
            // Each one takes over folder, lock, sockets and port of one that was killed.
            let rounds = Machine.runsLongTests ? 20 : 3
            let times = try (0..<rounds).map { _ in try killOne(place) }
            print(
                "N15: supervisor killed", rounds, "times, 8 children gone: p50",
                [times.median].text, "ms, max", [times.max() ?? 0].text, "ms")
            #expect(times.median <= 100 * Machine.slowness)
            let last = try RunningSupervisor(entries(place.port), folder: place.path)
            defer { last.end() }
            try last.waitForHeldGuest("held")
            let status = try last.status("held")
            #expect(status.debug.address == "127.0.0.1:\(place.port)")
            try last.expectTicking("quiet", image)
            let left = Set(try FileManager.default.contentsOfDirectory(atPath: place.path))
            #expect(left == ["c.sock", "private", "s.json", "sandboxes", "supervisor.lock"])
        }

        @Test
        func `F28: supervisor stopped: gdb works on, and a dead stub still frees its guest`() throws
        {
            let ticker = try GuestImage.named(Ticker.guest)
            let entries = [
                SandboxEntry("a", Ticker.guest, port: try RunningSupervisor.freePort()),
                SandboxEntry("b", "counter", startup: "run"),
            ]
            try RunningSupervisor.with(entries) { supervisor in
                try Ticker.start(supervisor, "a", ticker)
                try supervisor.waitForEvent("b", "sandbox.state", containing: "-> running")
                let status = try supervisor.status("a")
                let worker = try #require(status.workerPID)
                let stub = try #require(status.stubPID)
                supervisor.program.signal(SIGSTOP)
                defer { supervisor.program.signal(SIGCONT) }
                // A whole session of the neighbour's, without the supervisor.
                try supervisor.expectTicking("b", image)
                let client = try RSPClient(supervisor.debugSocket("a"))
                try client.attach()
                let used = processorSeconds(worker)
                kill(stub, SIGKILL)
                let killed = ContinuousClock.now
                try Deadline.wait(.seconds(5), for: "work of the guest") {
                    processorSeconds(worker) > used + 0.001
                }
                let milliseconds = (ContinuousClock.now - killed) / .milliseconds(1)
                print(
                    "F28: stub killed while the supervisor stands: 1 ms of the guest's work after",
                    [milliseconds].text, "ms")
                #expect(milliseconds < 1000)
                let start = supervisor.log.count
                supervisor.program.signal(SIGCONT)
                try supervisor.waitForEvent("a", "stub.exited", from: start)
                try supervisor.expectTicking("a", ticker)
                try #expect(supervisor.status("a").workerPID == worker)
            }
        }
    }
}
