// IntegrationTests: the built programs as a user meets them, with real gdb.
//
// Every test starts a supervisor of its own (`RunningSupervisor`) and talks to it through its log,
// its control program, its debug ports and signals. Nothing of the programs is linked in here. A
// number at the start of a test's name is that of the promise it checks. Start with
// `Harness/RunningSupervisor.swift`, then `AttachTests.swift`.

import Testing

/// One after the other: the tests kill processes and measure times.
@Suite(.serialized)
struct IntegrationTests {
    @Test(.enabled(if: Driver.kvm.isPresent, "/dev/kvm cannot be opened for reading and writing"))
    func `tests with a debugger run on kvm too`() {
        #expect(Driver.present.contains(.kvm))
    }

    @Test(
        .enabled(
            if: Driver.mshv.isPresent,
            "neither /dev/mshv nor HYPERLIGHT_MSHV_SHIM, the path of its stand-in"))
    func `tests with a debugger run on mshv too`() {
        #expect(Driver.present.contains(.mshv))
    }
}
