import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// The supervisor runs out of something (F21, F22, F24 of the failure matrix): what runs goes
    /// on, what cannot start says why, and nothing spins.
    @Suite(.serialized)
    struct Shortages {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        private static let entries = (0..<10).map {
            SandboxEntry("s\($0)", "counter", startup: "run")
        }

        /// The share of a processor that a process takes within half a second.
        private func processorShare(_ processID: Int32) -> Double {
            let used = processorSeconds(processID)
            // The interval that is measured, not a wait for something.
            poll(nil, 0, 500)
            return (processorSeconds(processID) - used) / 0.5
        }

        /// Fails unless the last sandbox has no room, the first works, and the supervisor rests.
        private func expectShortage(
            _ supervisor: RunningSupervisor, _ row: String, _ reason: String
        ) throws {
            try supervisor.waitForEvent("s0", "sandbox.state", containing: "-> running")
            let line = try supervisor.waitForEvent(
                "s9", "sandbox.state", containing: "out of resources")
            #expect(line.msg.contains(reason), "\(line.msg)")
            try supervisor.expectTicking("s0", image)
            for entry in Self.entries {
                _ = try supervisor.waitForRecord("the fate of \(entry.name)", .seconds(10)) {
                    $0.sandbox == entry.name && $0.event == "sandbox.state"
                }
            }
            let running = Self.entries.count { entry in
                supervisor.log.contains {
                    $0.isAbout(entry.name, "sandbox.state", containing: "-> running")
                }
            }
            let share = processorShare(supervisor.program.processID)
            print(
                "\(row): \(running) of \(Self.entries.count) sandboxes run; the supervisor takes",
                [share].text, "of a processor; \(line.msg)")
            #expect(running < Self.entries.count && share < 0.05)
        }

        @Test
        func `F21: with too few descriptors some sandboxes do not start, the others live`() throws {
            let starter = ["/bin/sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""]
            try RunningSupervisor.with(Self.entries, starter: starter) { supervisor in
                try expectShortage(supervisor, "F21", "too many open files")
                // What is kept back is enough for control and for a new stub.
                let stub = try #require(try supervisor.status("s0").stubPID)
                kill(stub, SIGKILL)
                try Deadline.wait(.seconds(5), for: "a new stub") {
                    let status = try supervisor.status("s0")
                    return status.stubPID != stub && status.debug.state == .listening
                }
                try supervisor.expectTicking("s0", image)
            }
        }

        /// A user that has no processes: the limit counts all of a user's.
        private static let lonelyUser = 61_234

        @Test(.enabled(if: geteuid() == 0, "only root becomes a user that has no process yet"))
        func `F22: with too few processes some sandboxes do not start, the others live`() throws {
            let user = "--reuid=\(Self.lonelyUser) --regid=\(Self.lonelyUser) --clear-groups"
            let script = """
                chown -R \(Self.lonelyUser) "$(dirname "$2")"
                exec setpriv \(user) prlimit --nproc=16:16 "$0" "$@"
                """
            try RunningSupervisor.with(Self.entries, starter: ["/bin/sh", "-c", script]) {
                supervisor in
                try expectShortage(supervisor, "F22", "Resource temporarily unavailable")
            }
        }

        @Test(.enabled(if: Machine.hasOwnMounts, "no mount namespace can be had"))
        func `F24: in a full runtime folder a sandbox fails with the path, the others live`() throws
        {
            // Room for the configuration, the lock, two folders, and three names a sandbox.
            let script = """
                mount --make-rprivate / && text=$(cat "$2") &&
                mount -t tmpfs -o nr_inodes=14 full "$(dirname "$2")" &&
                printf %s "$text" >"$2" && exec "$0" "$@"
                """
            let starter = ["unshare", "--mount", "/bin/sh", "-c", script]
            let names = ["first", "second", "third"]
            let entries = names.map { SandboxEntry($0, "counter", startup: "run") }
            try RunningSupervisor.with(
                entries + [SandboxEntry("last", "counter")], starter: starter
            ) { supervisor in
                let line = try supervisor.waitForEvent(
                    "last", "sandbox.state", containing: "-> failed")
                #expect(line.msg.contains(supervisor.folder + "/private/last"), "\(line.msg)")
                #expect(line.msg.contains("No space left on device"), "\(line.msg)")
                print("F24: \(line.msg)")
                for name in names {
                    try supervisor.waitForEvent(name, "sandbox.state", containing: "-> running")
                }
                let inside = "/proc/\(supervisor.program.processID)/root\(supervisor.folder)"
                let address = try image.address(of: "ticks")
                var ticks: [UInt64] = []
                try Deadline.wait(.seconds(2), for: "a guest that goes on") {
                    let client = try RSPClient(.path("\(inside)/sandboxes/first/gdb.sock"))
                    try client.attach()
                    ticks.append(try client.readWord(at: address))
                    try client.detach()
                    return ticks[0] < ticks[ticks.count - 1]
                }
            }
        }
    }
}
