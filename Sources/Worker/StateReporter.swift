import GuestModel
import LinuxSystem
import WireProtocol

/// Decides when a change of state is worth a frame to the supervisor.
///
/// A debugger that steps changes the state thousands of times a second; only what lasts is reported.
struct StateReporter {
    /// How long a state lasts before it is reported.
    static let delayMilliseconds: Int32 = 50

    private var reported: SandboxState?
    private var runSince: UInt64 = 0

    /// Whether this state has not been reported yet.
    func isDue(_ state: SandboxState) -> Bool { state != reported }

    /// Notes when steps began that will go on looking whether running can be reported.
    mutating func stepsStarted() {
        runSince = monotonicNanoseconds()
    }

    /// Arms the timer that brings the vCPU back once, so that running can be reported.
    mutating func runStarted(at state: SandboxState) {
        guard isDue(state) else { return }
        runSince = monotonicNanoseconds()
        KickSignal.raise(afterMicroseconds: UInt64(Self.delayMilliseconds) * 1000)
    }

    /// The state to report now, if any.
    mutating func report(_ state: SandboxState, now: Bool) -> SandboxState? {
        guard isDue(state) else { return nil }
        let elapsed = monotonicNanoseconds() &- runSince
        guard now || elapsed >= UInt64(Self.delayMilliseconds) * 1_000_000 else { return nil }
        reported = state
        return state
    }

    /// The supervisor did not take the last report: it is due again after the delay.
    mutating func reportWasLost() {
        reported = nil
        KickSignal.raise(afterMicroseconds: UInt64(Self.delayMilliseconds) * 1000)
    }
}
