import GuestABI
import GuestModel
import Hypervisor
import WireProtocol

/// What the guest does, and why.
struct StatusReport {
    let activity: Activity
    let driver: DriverName
    let guest: Guest
    let settings: WorkerSettings
    /// Nanoseconds since the worker got its guest.
    let age: UInt64
    let exits: ExitHistory
    let hostCallCount: UInt64

    func append(to report: inout Report) {
        report.field("state", activity.sandboxState.rawValue)
        if !activity.text.isEmpty { report.field("why", activity.text) }
        report.field("driver", "\(driver.rawValue): \(guest.machine.capabilities.text)")
        report.field(
            "guest",
            "\(settings.abi.rawValue), entry \(guest.plan.entry.rawValue.hex), "
                + "load bias \(guest.plan.loadBias.hex)")
        report.field("up", age.durationText)
        report.field(
            "counts",
            "\(exits.exitCount) exits, \(exits.stepCount) steps, \(hostCallCount) host calls")
        report.field("on crash", settings.onCrash.text)
        if settings.isDebugReadOnly { report.field("access", "read-only") }
    }
}

extension CrashPolicy {
    fileprivate var text: String {
        switch self {
        case .end: "the guest ends at once"
        case .hold: "the guest stays readable while a client is attached"
        case .wait: "the guest stays readable until a client has come and gone"
        }
    }
}
