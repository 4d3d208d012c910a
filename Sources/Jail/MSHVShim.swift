import Glibc

/// The stand-in for the Microsoft hypervisor with which its driver is tested: a library that workers
/// load and that makes /dev/mshv out of /dev/kvm.
///
/// It exists in builds for debugging alone. What is shipped does not even contain the variable's name,
/// which `tools/check --programs` looks for.
package enum MSHVShim {
    /// The library that workers of the driver MSHV load, or nil.
    package static let path: String? = {
        #if DEBUG
            // SAFETY: nobody changes the environment of this process.
            guard let value = unsafe getenv("HYPERLIGHT_TEST_MSHV_SHIM") else { return nil }
            let path = unsafe String(cString: value)
            return path.isEmpty ? nil : path
        #else
            return nil
        #endif
    }()

    /// The device that such a worker inherits.
    package static let device: String? = path == nil ? nil : "/dev/kvm"

    /// The library, for whoever may read only what is named.
    package static let readable: [String] = path.map { [$0] } ?? []

    /// What such a worker finds in its environment.
    package static let variables: [String] = {
        guard let path else { return [] }
        var variables = ["LD_PRELOAD=\(path)", "HYPERLIGHT_TEST_MSHV_SHIM=\(path)"]
        // How the library shall behave.
        var place = unsafe environ
        while let entry = unsafe place.pointee {
            let variable = unsafe String(cString: entry)
            if variable.hasPrefix("MSHV_SHIM_") { variables.append(variable) }
            unsafe place += 1
        }
        return variables
    }()
}
