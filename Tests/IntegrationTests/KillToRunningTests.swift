import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// How long a guest stands after the death of its stub, as seen from outside.
    @Suite(.serialized)
    struct KillToRunning {
        private static let limitMilliseconds = 10.0 * Machine.slowness
        private let image: GuestImage

        init() throws { image = try GuestImage.named(Ticker.guest) }

        @Test(arguments: Driver.present)
        func `N10: 50 stubs killed at a breakpoint: the guest runs again, its code is the original`(
            driver: Driver
        ) throws {
            let times = try killStubs(50, driver)
            // The percentile is the matter of the long test; fifty cannot tell it from a busy machine.
            #expect(times.median <= Self.limitMilliseconds)
        }

        @Test(
            .enabled(if: Machine.runsLongTests, "a long test: tools/test --soak"),
            arguments: Driver.present)
        func `N10: 1000 stubs killed at a breakpoint: p99 to guest running is at most 10 ms`(
            driver: Driver
        ) throws {
            let times = try killStubs(1000, driver)
            #expect(times.percentile(99) <= Self.limitMilliseconds)
        }

        /// Milliseconds from each kill to the guest's next act, which is a line in the log.
        ///
        /// They hold the way of the line through worker and supervisor too.
        private func killStubs(_ count: Int, _ driver: Driver) throws -> [Double] {
            let port = try RunningSupervisor.freePort()
            let entry = SandboxEntry("a", Ticker.guest, on: driver, port: port)
            return try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForHeldGuest("a")
                let worker = try supervisor.statusAtOnce("a").workerPID
                var times: [Double] = []
                for _ in 0..<count {
                    let client = try standing(port)
                    guard let stub = try supervisor.statusAtOnce("a").stubPID else {
                        throw HarnessError("no stub")
                    }
                    let killed = wallClockSeconds()
                    kill(stub, SIGKILL)
                    let pause = try supervisor.secondsToPrint("a", since: killed, .seconds(2))
                    times.append(1000 * pause)
                    try withExtendedLifetime(client) { try supervisor.restartStub("a") }
                }
                try #expect(supervisor.statusAtOnce("a").workerPID == worker)
                print(
                    "N10: \(driver.rawValue), \(count) kills, ms from kill to guest running: p50",
                    [times.median].text, "p99", [times.percentile(99)].text, "max",
                    [times.percentile(100)].text)
                return times
            }
        }

        /// A client in front of a guest that stands at a breakpoint, with another and the original
        /// code of all functions beside.
        private func standing(_ port: UInt16) throws -> RSPClient {
            let client = try RSPClient(.port(port))
            try client.attach()
            try expectOriginalCode(client)
            let tick = String(try image.address(of: "tick"), radix: 16)
            let print = String(try image.address(of: "print_scalar"), radix: 16)
            try #expect(client.ask("Z0,\(tick),1") == "OK")
            try #expect(client.ask("vCont;c").contains("swbreak"))
            try #expect(client.ask("Z0,\(print),1") == "OK")
            try Ticker.printsNext(client, image)
            return client
        }

        /// From `tick` to the end of the functions that the ticker uses, in a session without
        /// breakpoints: what is left of earlier ones would show.
        private func expectOriginalCode(_ client: RSPClient) throws {
            for name in ["_start", "tick", "guest_main", "print_scalar"] {
                let address = try image.address(of: name)
                let original = try image.bytes(at: address, count: 24)
                try #expect(client.readMemory(at: address, count: 24) == original, "\(name)")
            }
        }
    }
}
