import GuestModel
import SandboxConfig
import Testing

@testable import Supervisor

/// What a machine has, what is asked for, and what comes of it.
struct DriverCase: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let choice: DriverChoice
    var kvm = ProbeResult.usable(.complete)
    var emulator = ProbeResult.usable(.complete)
    /// Nil: none is usable.
    let driver: DriverName?
    let reason: String

    static let limited = ProbeResult.usable(
        DriverCapabilities.complete.subtracting([.sse, .singleStep]))
    static let limits = "kvm: limited, lacks SSE in ring 0, single step, data watchpoints"

    static let all: [DriverCase] = [
        DriverCase(
            testDescription: "auto takes a KVM that can do everything", choice: .automatic,
            driver: .kvm, reason: "mshv: none"),
        DriverCase(
            testDescription: "auto skips a limited KVM and says why", choice: .automatic,
            kvm: limited, driver: .emulator, reason: "mshv: none; \(limits)"),
        DriverCase(
            testDescription: "auto skips what cannot be used", choice: .automatic,
            kvm: .unusable("no /dev/kvm"), driver: .emulator,
            reason: "mshv: none; kvm: no /dev/kvm"),
        DriverCase(
            testDescription: "auto without anything tells all reasons", choice: .automatic,
            kvm: limited, emulator: .unusable("no answer"), driver: nil,
            reason: "mshv: none; \(limits); emulator: no answer"),
        DriverCase(
            testDescription: "a list takes a limited driver", choice: .listed([.kvm, .emulator]),
            kvm: limited, driver: .kvm, reason: "first choice"),
        DriverCase(
            testDescription: "a list goes in its own order", choice: .listed([.emulator, .kvm]),
            driver: .emulator, reason: "first choice"),
        DriverCase(
            testDescription: "a list skips what cannot be used", choice: .listed([.mshv, .kvm]),
            driver: .kvm, reason: "mshv: none"),
        DriverCase(
            testDescription: "a list takes nothing that it does not name",
            choice: .listed([.mshv]), driver: nil, reason: "mshv: none"),
    ]

    func result(of name: DriverName) -> ProbeResult {
        switch name {
        case .mshv: .unusable("none")
        case .kvm: kvm
        case .emulator: emulator
        }
    }
}

struct DriverSelectionTests {
    @Test(arguments: DriverCase.all)
    func `a driver is chosen by what it can do, and the reason is told`(testCase: DriverCase) {
        switch DriverSelection.choose(testCase.choice, result: testCase.result) {
        case .success(let chosen):
            #expect(chosen.name == testCase.driver)
            #expect(chosen.reason == testCase.reason)
        case .failure(let none):
            #expect(testCase.driver == nil)
            #expect(none.reason == testCase.reason)
        }
    }

    @Test(
        arguments: [
            (nil, [.mshv, .kvm, .emulator]), (.kvm, [.kvm, .mshv, .emulator]),
            (.mshv, [.mshv, .kvm, .emulator]), (.emulator, [.emulator, .mshv, .kvm]),
        ] as [(DriverName?, [DriverName])])
    func `auto begins with the driver that the environment names`(
        _ name: DriverName?, _ order: [DriverName]
    ) throws {
        let machine = try MachineHypervisor(
            environment: name.map { ["HYPERLIGHT_HYPERVISOR": $0.rawValue] } ?? [:])
        var probed: [DriverName] = []
        _ = DriverSelection.choose(.automatic, on: machine) {
            probed.append($0)
            return .unusable("none")
        }
        #expect(probed == order)
    }

    @Test
    func `the device that the environment names is that of its driver, whoever asks`() throws {
        let machine = try MachineHypervisor(environment: [
            "HYPERLIGHT_HYPERVISOR": "mshv", "HYPERLIGHT_DEVICE_PATH": "/dev/other",
        ])
        for choice in [DriverChoice.automatic, .listed([.mshv])] {
            let chosen = DriverSelection.choose(choice, on: machine) { _ in .usable(.complete) }
            #expect(try chosen.get().devicePath == "/dev/other")
        }
        let other = DriverSelection.choose(.listed([.kvm]), on: machine) { _ in .usable([]) }
        #expect(try other.get().devicePath == "/dev/kvm")
        #expect(machine.devices == ["/dev/kvm", "/dev/other"])
        #expect(MachineHypervisor.unknown.devices == ["/dev/kvm", "/dev/mshv"])
    }

    @Test(arguments: [
        (
            ["HYPERLIGHT_DEVICE_PATH": "/dev/kvm"],
            "HYPERLIGHT_DEVICE_PATH without HYPERLIGHT_HYPERVISOR"
        ),
        (
            ["HYPERLIGHT_HYPERVISOR": "hyperv"],
            "HYPERLIGHT_HYPERVISOR: \"hyperv\" is not one of: kvm, mshv, emulator"
        ),
        (
            ["HYPERLIGHT_HYPERVISOR": "kvm", "HYPERLIGHT_DEVICE_PATH": "dev/kvm"],
            "HYPERLIGHT_DEVICE_PATH: \"dev/kvm\" is not an absolute path"
        ),
        (
            ["HYPERLIGHT_HYPERVISOR": "emulator", "HYPERLIGHT_DEVICE_PATH": "/dev/kvm"],
            "HYPERLIGHT_DEVICE_PATH: the emulator has no device"
        ),
        (
            ["HYPERLIGHT_HYPERVISOR": "kvm", "HYPERLIGHT_DEVICE_PATH": "/dev"],
            "HYPERLIGHT_DEVICE_PATH: \"/dev\" is not a character device"
        ),
    ])
    func `an environment that means nothing is refused in words`(
        _ environment: [String: String], _ text: String
    ) {
        #expect {
            try MachineHypervisor(environment: environment)
        } throws: {
            "\($0)" == text
        }
    }

    @Test func `empty variables are as good as none`() throws {
        let machine = try MachineHypervisor(environment: [
            "HYPERLIGHT_HYPERVISOR": "", "HYPERLIGHT_DEVICE_PATH": "",
        ])
        #expect(machine == .unknown)
    }

    @Test
    func `no driver is probed that is not needed`() {
        var probed: [DriverName] = []
        _ = DriverSelection.choose(.listed([.emulator, .kvm])) {
            probed.append($0)
            return .usable(.complete)
        }
        #expect(probed == [.emulator])
    }
}
