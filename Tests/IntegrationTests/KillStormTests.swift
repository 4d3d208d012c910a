import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing

extension IntegrationTests {
    /// Workers and stubs of many sandboxes killed at random, for a minute.
    @Suite(.serialized)
    struct KillStorm {
        private static let sandboxCount = 16
        private static let killCount = Machine.runsLongTests ? 1000 : 60
        private static let seconds = Machine.runsLongTests ? 60.0 : 5.0

        /// What a supervisor holds, counted from outside.
        private struct Holdings: CustomStringConvertible {
            let descriptors: Int
            let children: Int
            let sockets: Int
            let residentKiB: Int

            init(_ supervisor: RunningSupervisor) {
                let id = supervisor.program.processID
                let manager = FileManager.default
                descriptors =
                    (try? manager.contentsOfDirectory(atPath: "/proc/\(id)/fd").count) ?? -1
                children = supervisor.children.count
                sockets =
                    manager.enumerator(atPath: supervisor.folder)?.allObjects.count ?? -1
                let status =
                    (try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)) ?? ""
                let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
                residentKiB =
                    line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? -1
            }

            /// Looks when the connection of the last question is closed there too.
            static func settled(_ supervisor: RunningSupervisor, at expected: Int? = nil)
                -> Holdings
            {
                var holdings = Holdings(supervisor)
                let deadline = Deadline.after(expected == nil ? .milliseconds(300) : .seconds(5))
                while !deadline.isOver, holdings.descriptors != expected {
                    poll(nil, 0, 10)
                    let next = Holdings(supervisor)
                    // Before there is a number to compare with, the smallest one counts.
                    if expected != nil || next.descriptors < holdings.descriptors {
                        holdings = next
                    }
                }
                return holdings
            }

            var description: String {
                "\(descriptors) descriptors, \(children) children, \(sockets) files, "
                    + "\(residentKiB) KiB resident"
            }
        }

        private static func entries() -> [SandboxEntry] {
            (0..<sandboxCount).map { index in
                let driver = Driver.present[index % Driver.present.count]
                var entry = SandboxEntry("s\(index)", "counter", on: driver, startup: "run")
                entry.restart = .init(
                    initialDelay: "1ms", maxDelay: "20ms", burst: 1000, window: "1s")
                return entry
            }
        }

        /// Waits until every guest runs, and with `stubs` until every door is served too.
        private func waitUntilWell(
            _ supervisor: RunningSupervisor, stubs: Bool, _ duration: Duration
        ) throws {
            try Deadline.wait(duration, for: "all sandboxes to run") {
                let (_, text) = try supervisor.control(["status", "--format", "json"])
                // In the first moments there is no control socket, and words instead of an answer.
                let answer = try? JSONDecoder().decode([SandboxStatus].self, from: Data(text.utf8))
                guard let all = answer else { return false }
                return all.allSatisfy {
                    $0.state == .running
                        && (!stubs || $0.debug.state == .listening && $0.stubPID != nil)
                }
            }
        }

        @Test func `N11: a storm of kills leaves no error and nothing behind`() throws {
            var random = SplitMix64(state: UInt64.random(in: .min ... .max))
            print("N11: seed \(random.state), \(Self.killCount) kills in \(Self.seconds) s")
            try RunningSupervisor.with(Self.entries()) { supervisor in
                try waitUntilWell(supervisor, stubs: true, .seconds(20))
                let before = Holdings.settled(supervisor)
                let start = ContinuousClock.now
                var killed = 0
                while killed < Self.killCount {
                    // Evenly over the time; children that are just being replaced are left out.
                    let due = Self.seconds * Double(killed) / Double(Self.killCount)
                    let early = due - (ContinuousClock.now - start) / .seconds(1)
                    if early > 0 { poll(nil, 0, Int32(early * 1000)) }
                    let children = supervisor.children
                    guard !children.isEmpty else { continue }
                    kill(children[Int(random.next() % UInt64(children.count))], SIGKILL)
                    killed += 1
                }
                let calm = ContinuousClock.now
                try waitUntilWell(supervisor, stubs: false, .seconds(5))
                let recovery = (ContinuousClock.now - calm) / .milliseconds(1)
                // A stub that died often comes back late, or not before it is asked for.
                for name in Self.entries().map(\.name) {
                    _ = try supervisor.control(["stub", "restart", name])
                }
                try waitUntilWell(supervisor, stubs: true, .seconds(10))
                let after = Holdings.settled(supervisor, at: before.descriptors)
                print(
                    "N11: \(killed) kills in \((calm - start) / .seconds(1)) s, "
                        + "all guests run after \(Int(recovery)) ms")
                print("N11: before: \(before)")
                print("N11: after:  \(after)")
                #expect(after.descriptors == before.descriptors)
                #expect(after.children == before.children)
                #expect(after.sockets == before.sockets)
                let grown = after.residentKiB - before.residentKiB
                #expect(grown < (8 << 10) * Machine.appetite)
                // Deaths are told; nothing else went wrong.
                let expected: Set<String> = [
                    "worker.exited", "sandbox.state", "stub.gave-up", "stub.failed",
                ]
                let errors = supervisor.log.filter {
                    ["error", "fatal"].contains($0.level) && !expected.contains($0.event)
                }
                #expect(errors.isEmpty, "\(errors.map { "\($0.event): \($0.msg)" })")
                #expect(!supervisor.log.contains { $0.msg.contains("-> failed") })
                supervisor.program.signal(SIGTERM)
                try #expect(supervisor.program.waitForEnd(.seconds(15)) == .exit(0))
            }
        }
    }
}

/// Numbers that look random and are the same for the same seed.
///
/// - Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators".
struct SplitMix64 {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
