// HypervisorMSHVTests: the numbers of the interface, and the driver contract where /dev/mshv is.
//
// Without the device the suites that need it are skipped and say so; tools/test puts a shim in its
// place, which implements the interface on top of KVM.

import GuestModel
import Hypervisor
import HypervisorMSHV
import LinuxSystem

/// This machine's Microsoft hypervisor, looked at once.
enum MSHVHost {
    /// What the probe found, or why it cannot be used here.
    static let probed: Result<DriverCapabilities, any Error> = Result {
        try MSHVProbe.run(device: try openDevice("/dev/mshv"))
    }

    static var isUsable: Bool {
        switch probed {
        case .success: true
        case .failure: false
        }
    }

    /// Why the suites that need it do not run.
    static var reason: String {
        switch probed {
        case .success: "it is usable"
        case .failure(let error): "no usable /dev/mshv on this machine: \(error)"
        }
    }

    /// Nothing where it cannot be used.
    static var capabilities: DriverCapabilities { (try? probed.get()) ?? [] }

    static func makeMachine(
        usesRegisterPage: Bool = true, numbers: (machine: Int32, vcpu: Int32)? = nil
    ) throws -> MSHVMachine {
        try MSHVMachine(
            borrowing: try openDevice("/dev/mshv"), capabilities: try probed.get(),
            usesRegisterPage: usesRegisterPage, numbers: numbers)
    }
}
