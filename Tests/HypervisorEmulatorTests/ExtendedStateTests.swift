import GuestModel
import Hypervisor
import HypervisorEmulator
import Testing

struct ExtendedStateTests {
    @Test func `what a client writes of x87's last operation reads back`() throws {
        let vcpu = try EmulatorMachine().vcpu
        var bytes = [UInt8](repeating: 0, count: ExtendedState.byteCount)
        // Opcode, instruction and operand.
        for index in 6..<24 { bytes[index] = UInt8(index) }
        try vcpu.write(try #require(ExtendedState(fxsave: bytes)))
        let read = try #require(try vcpu.readExtendedState())
        #expect(read.bytes[6..<24] == bytes[6..<24])
    }
}
