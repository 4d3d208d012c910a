package import GuestModel
import LinuxSystem

/// The hypervisor that the environment says this machine or container has.
///
/// Kubernetes device plugins for Hyperlight set both variables in each container that asks for the
/// device.
package struct MachineHypervisor: Hashable, Sendable {
    package static let nameVariable = "HYPERLIGHT_HYPERVISOR"
    package static let pathVariable = "HYPERLIGHT_DEVICE_PATH"

    /// What `hypervisor: auto` tries first; nil without a preference.
    package let name: DriverName?
    private let path: String?

    /// Nothing said.
    package static let unknown = MachineHypervisor(name: nil, path: nil)

    private init(name: DriverName?, path: String?) {
        self.name = name
        self.path = path
    }

    /// - Throws: `Refusal` with a sentence for values that mean nothing.
    package init(environment: [String: String]) throws(Refusal) {
        let word = environment[Self.nameVariable].flatMap { $0.isEmpty ? nil : $0 }
        let path = environment[Self.pathVariable].flatMap { $0.isEmpty ? nil : $0 }
        guard let word else {
            guard path == nil else {
                throw Refusal("\(Self.pathVariable) without \(Self.nameVariable)")
            }
            self = .unknown
            return
        }
        guard let name = DriverName(rawValue: word) else {
            let names = DriverName.allCases.map(\.rawValue).joined(separator: ", ")
            throw Refusal("\(Self.nameVariable): \"\(word)\" is not one of: \(names)")
        }
        if let path {
            guard path.hasPrefix("/") else {
                throw Refusal("\(Self.pathVariable): \"\(path)\" is not an absolute path")
            }
            guard name.standardDevice != nil else {
                throw Refusal("\(Self.pathVariable): the \(word) has no device")
            }
            // One that is not there may come yet; the probe tells.
            guard isCharacterDevice(path) != false else {
                throw Refusal("\(Self.pathVariable): \"\(path)\" is not a character device")
            }
        }
        self.init(name: name, path: path)
    }

    package struct Refusal: Error, Hashable, CustomStringConvertible {
        package let description: String
        fileprivate init(_ description: String) { self.description = description }
    }

    /// The device of a driver if it is not the usual one.
    func unusualDevice(of driver: DriverName) -> String? { driver == name ? path : nil }

    func device(of driver: DriverName) -> String? {
        unusualDevice(of: driver) ?? driver.standardDevice
    }

    /// The drivers that `auto` looks at, best first.
    var candidates: [DriverName] {
        let usual: [DriverName] = [.mshv, .kvm, .emulator]
        guard let name else { return usual }
        return [name] + usual.filter { $0 != name }
    }

    /// All devices that a worker may be given.
    var devices: [String] { DriverName.allCases.compactMap { device(of: $0) } }
}

extension DriverName {
    /// Where the system has the driver's device; nil for a driver without one.
    fileprivate var standardDevice: String? {
        switch self {
        case .kvm: "/dev/kvm"
        case .mshv: "/dev/mshv"
        case .emulator: nil
        }
    }
}
