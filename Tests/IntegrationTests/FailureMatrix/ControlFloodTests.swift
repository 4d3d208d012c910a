import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Clients of the control socket that do harm (F14 of the failure matrix).
    @Suite(.serialized)
    struct ControlFloods {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("counter") }

        /// Connections in many states of half a request, again and again until told to stop.
        private final class Flood: @unchecked Sendable {
            private let path: String
            private let lock = NSLock()
            private var isOver = false
            private var opened = 0

            init(_ path: String) {
                self.path = path
                for _ in 0..<2 { Thread.detachNewThread { [self] in run() } }
            }

            /// How many connections there were.
            func stop() -> Int {
                lock.withLock {
                    isOver = true
                    return opened
                }
            }

            private func run() {
                let words = [
                    "", "GET /v1/sand", "POST /v1/sandboxes/a/resume HTTP/1.1\r\n",
                    "POST /v1/sandboxes/a/resume HTTP/1.1\r\nHost: x\r\n"
                        + "Content-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 5000),
                    "GET /v1/sandboxes HTTP/1.1\r\nHost: x\r\n\r\n",
                ]
                var held: [RSPClient] = []
                while lock.withLock({ !isOver }) {
                    // No more can be had for the moment when this fails, which is what is wanted.
                    if let client = try? RSPClient(.path(path)) {
                        client.send(raw: Array((words.randomElement() ?? "").utf8))
                        held.append(client)
                        lock.withLock { opened += 1 }
                    }
                    if held.count > 40 { held.removeFirst(20) }
                }
            }
        }

        @Test
        func `F14: a flood of half requests does not delay supervision`() throws {
            let entry = SandboxEntry("a", "counter", startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let stub = try #require(try supervisor.status("a").stubPID)
                let resident = residentKiB(supervisor.program.processID)
                let flood = Flood(supervisor.socket)
                try supervisor.waitForEvent("-", "control.refused", containing: "too many at once")
                let killed = wallClockSeconds()
                kill(stub, SIGKILL)
                let record = try supervisor.waitForEvent("a", "stub.exited")
                // The guest goes on and the next stub serves, also while the flood lasts.
                try supervisor.expectTicking("a", image)
                let count = flood.stop()
                let grown = residentKiB(supervisor.program.processID) - resident
                print(
                    "F14:", count, "connections; a stub's death is in the log after",
                    [(record.time - killed) * 1000].text, "ms; memory grew by", grown, "KiB")
                #expect(record.time - killed < 0.5 * Machine.slowness)
                #expect(grown < (16 << 10) * Machine.appetite)
                // With the flood over the user is served again.
                try Deadline.wait(.seconds(12), for: "an answer") {
                    (try? supervisor.status("a").state) == .running
                }
            }
        }

        /// What a client may send so slowly, or not read, that it never ends.
        enum Slowness: String, CaseIterable, CustomTestStringConvertible {
            case head = "GET /v1/sandboxes HTTP/1.1\r\nHost: "
            case body =
                "POST /v1/sandboxes/a/resume HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"

            var testDescription: String { self == .head ? "head" : "body" }
        }

        @Test(
            .enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"),
            arguments: Slowness.allCases)
        func `F14: a request that comes a byte a second is cut off after ten seconds`(
            slowness: Slowness
        ) throws {
            try RunningSupervisor.with([SandboxEntry("a", "counter", startup: "run")]) {
                supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                supervisor.waitForControlSocket()
                let client = try RSPClient(.path(supervisor.socket))
                let start = ContinuousClock.now
                client.send(raw: Array(slowness.rawValue.utf8))
                while !client.isClosed(within: .seconds(1)) {
                    client.send(raw: [UInt8(ascii: "x")])
                    try #require(ContinuousClock.now - start < .seconds(20))
                }
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                print(
                    "F14: a slow", slowness.testDescription, "is cut off after", [seconds].text, "s"
                )
                #expect(seconds > 9 && seconds < 14)
            }
        }
    }
}

/// A process's resident memory in KiB; 0 when it is gone.
func residentKiB(_ processID: Int32) -> Int {
    let text = try? String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8)
    return text?.firstMatch(of: #/VmRSS:\s+(\d+) kB/#).flatMap { Int($0.1) } ?? 0
}
