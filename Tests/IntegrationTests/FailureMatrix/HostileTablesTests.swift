import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Page tables and stacks that mean harm to whoever follows them (F20 of the failure matrix).
    @Suite(.serialized)
    struct HostileTables {
        private let image: GuestImage

        init() throws { image = try GuestImage.named("tests/tables") }

        /// Addresses that go through tables that contain themselves, and through a random one.
        private static let addresses: [UInt64] = [
            1 << 39, 0x0000_7F80_0000_0000, 0x0000_7FFF_FFFF_F000, 0xFFFF_8000_0000_0000,
            0xFFFF_8080_8080_8080, 0xFFFF_FF00_0000_0000, 0xFFFF_FF80_0000_0000,
            0xFFFF_FFFF_FFFF_F000, 0x0000_8000_0000_0000, .max,
        ]

        @Test(arguments: Driver.sample)
        func `F20: page tables that point at themselves and change cost a debugger no time`(
            driver: Driver
        ) throws {
            let entry = SandboxEntry("a", "tests/tables", on: driver, startup: "run")
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> running")
                let before = try supervisor.status("a")
                let changes = try image.address(of: "changes")
                var counts: [UInt64] = []
                var times: [Double] = []
                for _ in 0..<20 {
                    try supervisor.stopping("a") { client in
                        counts.append(try client.readWord(at: changes))
                        for address in Self.addresses + [try client.readRegister(7)] {
                            let start = ContinuousClock.now
                            // As much as one packet can carry.
                            let reply = try client.ask("m\(String(address, radix: 16)),fff0")
                            times.append((ContinuousClock.now - start) / .milliseconds(1))
                            #expect(reply.count % 2 == 0 || reply.hasPrefix("E"))
                        }
                    }
                }
                print(
                    "F20: \(driver): \(times.count) reads of 64 KiB through hostile tables: p50",
                    [times.median].text, "ms, max", [times.max() ?? 0].text, "ms")
                #expect(times.allSatisfy { $0 < 1000 * Machine.slowness })
                #expect(counts.first != counts.last)
                let after = try supervisor.status("a")
                #expect(after.workerPID == before.workerPID && after.stubPID == before.stubPID)
            }
        }
    }
}
