import CLinux
import Glibc
import GuestModel
import Hypervisor
import HypervisorKVM
import LinuxSystem
import Testing

@testable import Jail

/// What the jail costs where it could cost most: at each exit of a running guest.
@Suite(.enabled("no usable /dev/kvm on this machine") { KVMHost.isUsable })
struct FilterCostTests {
    /// OUT 101; jump back: nothing but exits.
    private static let outForever: [UInt8] = [0xE6, 0x65, 0xEB, 0xFC]
    private static let exitsPerRound = 2000
    private static let roundCount = 15

    /// Nanoseconds for one exit, the fastest of some rounds: what disturbs only ever makes it slower.
    private static func exitNanoseconds(_ vcpu: KVMVCPU) throws -> Double {
        var best = UInt64.max
        for _ in 0..<roundCount {
            let start = monotonicNanoseconds()
            for _ in 0..<exitsPerRound { _ = try vcpu.run(.continue) }
            best = min(best, monotonicNanoseconds() - start)
        }
        return Double(best) / Double(exitsPerRound)
    }

    /// In a process of its own: a filter cannot be taken off again.
    @Test func `N6: the worker's filter costs next to nothing at a KVM exit`() async {
        let result = await #expect(
            processExitsWith: .exitCode(0), observing: [\.standardErrorContent]
        ) {
            let numbers = (
                machine: ChildDescriptor.Worker.machine, vcpu: ChildDescriptor.Worker.vcpu
            )
            // Whatever this process had at these numbers it needs no more; and the device must not
            // get one of them.
            dup2(STDERR_FILENO, numbers.machine)
            dup2(STDERR_FILENO, numbers.vcpu)
            let guest = try KVMGuest(Self.outForever, numbers: numbers)
            _ = try Self.exitNanoseconds(guest.vcpu)
            let free = try Self.exitNanoseconds(guest.vcpu)
            let calls = SeccompPolicy.calls(of: .workerKVM, processID: getpid())
            let filter = try SeccompFilter.make(allowing: calls, others: .kill)
            guard clinux_set_no_new_privileges() == 0 else { _exit(2) }
            try filter.load()
            let confined = try Self.exitNanoseconds(guest.vcpu)
            let percent = Int((confined / free - 1) * 1000)
            writeToStandardError(
                "N6: \(Int(free)) ns an exit without the filter, \(Int(confined)) ns with it: "
                    + "\(percent / 10).\(abs(percent % 10)) % more\n")
            // A generous bound: the figure is judged by people, on a quiet machine.
            _exit(confined < free * 1.5 ? 0 : 1)
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix("N6") { print(line) }
    }
}
