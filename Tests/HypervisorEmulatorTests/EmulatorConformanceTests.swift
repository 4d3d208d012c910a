import DriverConformance
import GuestModel
import HypervisorEmulator
import Testing

extension ConformanceCase: CustomTestStringConvertible {
    public var testDescription: String { name }
}

@Suite struct EmulatorConformanceTests {
    private static let capabilities: DriverCapabilities = [.complete, .watchpoints]

    @Test func `the emulator can do what it says`() throws {
        #expect(try EmulatorMachine().capabilities == Self.capabilities)
    }

    @Test(arguments: ConformanceCase.cases(for: capabilities))
    func `the emulator does what the contract says`(_ conformanceCase: ConformanceCase) throws {
        try conformanceCase.run { try EmulatorMachine() }
    }

    @Test(.enabled(if: outOfReach.isEmpty, "the emulator has no AVX. Not run: \(outOfReach)"))
    func `the emulator can run every case`() {}

    @Test(arguments: ConformanceCase.watchingAnySize)
    func `the emulator watches memory of any size`(_ conformanceCase: ConformanceCase) throws {
        try conformanceCase.run { try EmulatorMachine() }
    }

    private static let outOfReach = ConformanceCase.all
        .filter { !capabilities.isSuperset(of: $0.needs) }
}
