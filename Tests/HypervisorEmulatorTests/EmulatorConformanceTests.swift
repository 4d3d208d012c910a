import DriverConformance
import HypervisorEmulator
import Testing

extension ConformanceCase: CustomTestStringConvertible {
    public var testDescription: String { name }
}

@Suite struct EmulatorConformanceTests {
    @Test(arguments: ConformanceCase.all)
    func `the emulator does what the contract says`(_ conformanceCase: ConformanceCase) throws {
        try conformanceCase.run { try EmulatorMachine() }
    }
}
