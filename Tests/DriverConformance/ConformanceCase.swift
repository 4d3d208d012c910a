// DriverConformance: what every hypervisor driver has to do alike.
//
// A case is a small guest program in machine code and the exits it must give. The cases know the
// contract in `Hypervisor` and nothing of any driver; a test target of each driver runs them:
//
//     @Test(arguments: ConformanceCase.all) func conforms(_ conformanceCase: ConformanceCase) throws {
//         try conformanceCase.run { try SomeMachine() }
//     }
//
// Start with `TestGuest.swift` (memory map and helpers), then any of the `...Cases.swift` files.

import ConformanceSupport
package import GuestModel
package import Hypervisor

/// One behaviour that every driver shows.
package struct ConformanceCase: Sendable, CustomStringConvertible {
    /// A sentence that states the behaviour.
    package let name: String
    /// What a driver must be capable of for this case to mean anything.
    package let needs: DriverCapabilities
    private let check: @Sendable (TestGuest) throws -> Void

    init(
        _ name: String, needs: DriverCapabilities = [],
        check: @escaping @Sendable (TestGuest) throws -> Void
    ) {
        self.name = name
        self.needs = needs
        self.check = check
    }

    package var description: String { name }

    /// The cases that a driver with these capabilities has to pass.
    package static func cases(for capabilities: DriverCapabilities) -> [ConformanceCase] {
        all.filter { capabilities.isSuperset(of: $0.needs) }
    }

    /// What a driver with these capabilities does not have to pass, in words; nil for one that has all.
    package static func notRun(on name: String, with capabilities: DriverCapabilities) -> String? {
        let leftOut = all.filter { !capabilities.isSuperset(of: $0.needs) }
        guard !leftOut.isEmpty else { return nil }
        return "\(name) lacks \(capabilities.missingText.joined(separator: ", ")). Not run: "
            + leftOut.map(\.name).joined(separator: "; ")
    }

    package static let all: [ConformanceCase] =
        registerCases + extendedStateCases + portCases + stepCases + breakpointCases + watchCases
        + memoryCases
        + kickCases

    /// What a driver does besides that watches memory without debug registers.
    package static let watchingAnySize: [ConformanceCase] = anySizeWatchCases

    /// Runs the case on a fresh machine.
    ///
    /// A guest that never comes back ends the whole process with the name of the case after 20 s.
    /// - Throws: `ConformanceFailure` with what was seen, or the driver's own error.
    package func run(on makeMachine: () throws -> any VirtualMachine) throws {
        // The watchdog's handler reads this text at any time until it is disarmed.
        try unsafe name.withCString { text in
            let watchdog = unsafe conformance_arm_watchdog(text, 20_000)
            defer { conformance_disarm(watchdog) }
            let memory = try TestMemory()
            try withExtendedLifetime(memory) {
                try check(TestGuest(machine: makeMachine(), memory: memory))
            }
        }
    }
}

/// A driver that does not do what the contract says.
package struct ConformanceFailure: Error, CustomStringConvertible {
    package let description: String
}
