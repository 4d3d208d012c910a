// hyperlight-worker: owns one guest on KVM.

import Glibc
import GuestModel
import Hypervisor
import HypervisorKVM
import LinuxSystem
import Worker

@main
struct Program {
    static func main() {
        exit(WorkerProcess.main(arguments: CommandLine.arguments, drivers: [kvm]))
    }

    private static let kvm = WorkerDriver(
        name: .kvm,
        makeMachine: { capabilities throws(HypervisorError) in
            try KVMMachine(
                device: OwnedDescriptor(ChildDescriptor.Worker.device), capabilities: capabilities,
                numbers: (ChildDescriptor.Worker.machine, ChildDescriptor.Worker.vcpu))
        },
        probe: { () throws(HypervisorError) in try KVMProbe.run(device: try device()) })

    private static func device() throws(HypervisorError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try openDevice("/dev/kvm")
        } catch {
            throw .call("open /dev/kvm", errno: error.code)
        }
    }
}
