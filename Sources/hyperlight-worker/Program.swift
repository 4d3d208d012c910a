// hyperlight-worker: owns one guest on KVM or on the Microsoft hypervisor.

import Glibc
import GuestModel
import Hypervisor
import HypervisorKVM
import HypervisorMSHV
import LinuxSystem
import Worker

@main
struct Program {
    static func main() {
        exit(WorkerProcess.main(arguments: CommandLine.arguments, drivers: [kvm, mshv]))
    }

    private static let kvm = WorkerDriver(
        name: .kvm,
        makeMachine: { capabilities throws(HypervisorError) in
            try KVMMachine(
                device: inheritedDevice(), capabilities: capabilities, numbers: numbers)
        },
        probe: { path throws(HypervisorError) in
            try KVMProbe.run(device: try device(path ?? "/dev/kvm"))
        })

    private static let mshv = WorkerDriver(
        name: .mshv,
        makeMachine: { capabilities throws(HypervisorError) in
            try MSHVMachine(
                device: inheritedDevice(), capabilities: capabilities, numbers: numbers)
        },
        probe: { path throws(HypervisorError) in
            try MSHVProbe.run(device: try device(path ?? "/dev/mshv"))
        })

    /// Where the filter expects a machine and its vCPU.
    private static let numbers = (
        machine: ChildDescriptor.Worker.machine, vcpu: ChildDescriptor.Worker.vcpu
    )

    private static func inheritedDevice() -> OwnedDescriptor {
        OwnedDescriptor(ChildDescriptor.Worker.device)
    }

    private static func device(_ path: String) throws(HypervisorError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try openDevice(path)
        } catch {
            throw .call("open \(path)", errno: error.code)
        }
    }
}
