import GuestModel
import Jail
import LinuxSystem
import SandboxConfig

extension SupervisorConfiguration {
    /// Whether any sandbox shall have the strict profile.
    var hasStrictSandbox: Bool {
        let standard = SandboxJail.standardProfile(isRoot: isRoot())
        return sandboxes.contains { ($0.isolation.profile ?? standard) == .strict }
    }
}

extension SupervisorJail {
    /// What the supervisor of this configuration has to keep.
    init(
        _ configuration: SupervisorConfiguration, folder: borrowing SocketFolder,
        programs: ProgramFolder, machine: MachineHypervisor
    ) {
        let images = configuration.sandboxes.flatMap { [$0.guestPath, $0.symbolsPath] }
        self.init(
            keepsPrivileges: configuration.hasStrictSandbox && isRoot(),
            childrenMount: configuration.hasStrictSandbox,
            ownFolders: [folder.root],
            readable: images.map(Self.folder) + mappedFolders()
                + programs.folders
                + ["/proc", "/etc", "/usr", "/lib", "/lib64"] + MSHVShim.readable,
            devices: ["/dev/null"] + machine.devices,
            ports: configuration.sandboxes.compactMap(\.debug.port))
    }

    /// A guest is often replaced by a new file of the same name, so its folder counts.
    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
