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

    @Test(arguments: ConformanceCase.watchingAnySize)
    func `the emulator watches memory of any size`(_ conformanceCase: ConformanceCase) throws {
        try conformanceCase.run { try EmulatorMachine() }
    }
}
