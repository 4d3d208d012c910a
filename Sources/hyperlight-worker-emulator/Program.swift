// hyperlight-worker-emulator: owns one guest on the CPU emulator.
//
// The emulator is Unicorn, whose licence is GPL-2.0; that is why it lives in a program of its own.

import Glibc
import GuestModel
import Hypervisor
import HypervisorEmulator
import Worker

@main
struct Program {
    static func main() {
        exit(WorkerProcess.main(arguments: CommandLine.arguments, drivers: [emulator]))
    }

    private static let emulator = WorkerDriver(
        name: .emulator,
        makeMachine: { _ throws(HypervisorError) in try EmulatorMachine() },
        probe: { _ throws(HypervisorError) in try EmulatorMachine().capabilities })
}
