import CLinux
import Glibc
package import LinuxSystem

/// The kernel's rules for processes that restrict themselves.
///
/// - Source: Linux `Documentation/userspace-api/landlock.rst`, "Kernel interface".
package enum Landlock {
    /// The newest version whose rights are known here.
    static let newestABI: Int32 = 7

    /// The version that this kernel has, at most 7.
    /// - Throws: `ENOSYS` or `EOPNOTSUPP` when there is none.
    package static func abi() throws(SystemCallError) -> UInt8 {
        let abi = try checked(clinux_landlock_abi(), "landlock_create_ruleset")
        return UInt8(min(abi, newestABI))
    }

    /// Takes every right away that this version can take: all of files, TCP bind and connect,
    /// abstract sockets and signals to processes outside.
    ///
    /// Descriptors that are open stay as they are. Needs no_new_privs or CAP_SYS_ADMIN.
    /// - Returns: the version in force.
    static func denyEverything() throws(SystemCallError) -> UInt8 {
        let abi = try abi()
        let ruleset = try makeRuleset(LandlockRights.all(of: abi), abi)
        try checked(clinux_landlock_restrict(ruleset.rawValue), "landlock_restrict_self")
        return abi
    }

    static func makeRuleset(
        _ rights: LandlockRights, _ abi: UInt8
    ) throws(SystemCallError) -> OwnedDescriptor {
        var handled = clinux_landlock_rights(
            files: rights.files, ports: rights.ports, scopes: rights.scopes)
        let byteCount = abi < 4 ? 8 : abi < 6 ? 16 : 24
        let number = try checked(
            unsafe clinux_landlock_create(&handled, byteCount), "landlock_create_ruleset")
        return OwnedDescriptor(number)
    }
}

/// Rights in the kernel's bits.
struct LandlockRights: Hashable, Sendable {
    var files: UInt64
    var ports: UInt64
    var scopes: UInt64

    static let execute: UInt64 = 1 << 0
    static let writeFile: UInt64 = 1 << 1
    static let readFile: UInt64 = 1 << 2
    static let readFolder: UInt64 = 1 << 3
    private static let truncate: UInt64 = 1 << 14
    private static let deviceRequest: UInt64 = 1 << 15
    static let bindTCP: UInt64 = 1 << 0

    /// Opening and using a device.
    static let deviceUse = readFile | writeFile | deviceRequest
    /// What a rule about a file, and not a folder, may allow.
    static let ofFiles = execute | writeFile | readFile | truncate | deviceRequest

    /// Whatever this version knows.
    static func all(of abi: UInt8) -> LandlockRights {
        // Version 1 has 13 rights; 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV.
        let files: UInt64 =
            switch abi {
            case ...1: (1 << 13) - 1
            case 2: (1 << 14) - 1
            case 3, 4: (1 << 15) - 1
            default: (1 << 16) - 1
            }
        return LandlockRights(
            files: files, ports: abi < 4 ? 0 : 0b11, scopes: abi < 6 ? 0 : 0b11)
    }
}
