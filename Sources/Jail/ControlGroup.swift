import Glibc
package import LinuxSystem

/// Where the supervisor may make control groups of its own.
///
/// Both versions of the kernel interface: one hierarchy for all controllers, or one for each.
/// - Source: Linux `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/`.
package struct ControlGroupTree: Sendable {
    /// Folders that get a folder for each group: one with version 2, one a controller with version 1.
    private let branches: [Branch]

    struct Branch: Hashable, Sendable {
        enum Kind: Hashable, Sendable { case unified, memory, pids, cpu }
        let kind: Kind
        let folder: String
    }

    /// Whether `make` would find a place where this user may write; changes nothing.
    /// - Throws: what stands against it.
    package static func check() throws(SystemCallError) {
        let memberships = ControlGroupMemberships(text: try readSmallFile("/proc/self/cgroup"))
        if let folder = memberships.unifiedFolder, hasMemoryController(folder) {
            return try checkWritable(folder + "/cgroup.subtree_control")
        }
        guard let memory = memberships.separateFolders.first(where: { $0.0 == .memory }) else {
            throw SystemCallError("memory controller", code: ENOENT)
        }
        try checkWritable(memory.1)
    }

    private static func hasMemoryController(_ folder: String) -> Bool {
        guard let controllers = try? readSmallFile(folder + "/cgroup.controllers") else {
            return false
        }
        return controllers.split { $0 == " " || $0 == "\n" }.contains("memory")
    }

    /// Prepares the tree below this process's own group.
    /// - Throws: the call that was refused; then there are no groups.
    package static func make(processID: Int32) throws(SystemCallError) -> ControlGroupTree {
        let memberships = ControlGroupMemberships(text: try readSmallFile("/proc/self/cgroup"))
        let name = "hyperlight-\(processID)"
        if let folder = memberships.unifiedFolder, hasMemoryController(folder) {
            return try makeUnified(folder, name: name)
        }
        var branches: [Branch] = []
        for (kind, folder) in memberships.separateFolders {
            removeLeftOvers(in: folder)
            let branch = Branch(kind: kind, folder: folder + "/" + name)
            try makeFolder(branch.folder, mode: 0o755)
            branches.append(branch)
        }
        guard branches.contains(where: { $0.kind == .memory }) else {
            throw SystemCallError("memory controller", code: ENOENT)
        }
        return ControlGroupTree(branches: branches)
    }

    /// A group with members cannot have groups with controllers, so the supervisor moves into one of
    /// its own.
    private static func makeUnified(
        _ parent: String, name: String
    ) throws(SystemCallError) -> ControlGroupTree {
        removeLeftOvers(in: parent)
        let own = parent + "/" + name + "-supervisor"
        try makeFolder(own, mode: 0o755)
        try writeSmallFile(own + "/cgroup.procs", "0")
        do throws(SystemCallError) {
            try writeSmallFile(parent + "/cgroup.subtree_control", "+memory +pids +cpu")
            let folder = parent + "/" + name
            try makeFolder(folder, mode: 0o755)
            try writeSmallFile(folder + "/cgroup.subtree_control", "+memory +pids +cpu")
            return ControlGroupTree(branches: [Branch(kind: .unified, folder: folder)])
        } catch {
            // As it was; what cannot be undone does no harm.
            try? writeSmallFile(parent + "/cgroup.procs", "0")
            removeFolder(own)
            throw error
        }
    }

    /// Removes the empty groups of supervisors that were killed.
    private static func removeLeftOvers(in folder: String) {
        for name in folderContent(folder) where name.hasPrefix("hyperlight-") {
            let digits = name.dropFirst("hyperlight-".count).prefix { $0.isNumber }
            guard let processID = Int32(digits), !processExists(processID) else { continue }
            for leaf in folderContent(folder + "/" + name) {
                removeFolder("\(folder)/\(name)/\(leaf)")
            }
            removeFolder(folder + "/" + name)
        }
    }

    /// Makes a group with these limits.
    package func makeGroup(
        _ name: String, limits: ControlGroupLimits
    ) throws(SystemCallError) -> ControlGroup {
        // Joining a hierarchy of version 1 costs milliseconds, so none is joined for nothing.
        let needed = branches.filter { $0.kind != .cpu || limits.processorPercent != nil }
        let group = ControlGroup(
            branches: needed.map {
                Branch(kind: $0.kind, folder: $0.folder + "/" + name)
            })
        do throws(SystemCallError) {
            try group.make(limits)
        } catch {
            // A group without one of its limits is none.
            group.remove()
            throw error
        }
        return group
    }

    /// Removes what `make` made; groups with members stay, as does the supervisor's own, which the
    /// next supervisor here removes.
    package func remove() {
        for branch in branches { removeFolder(branch.folder) }
    }
}

/// What the members of a group may use together.
package struct ControlGroupLimits: Hashable, Sendable {
    package var memoryBytes: UInt64
    package var processes: Int
    /// Of one processor; nil for no limit.
    package var processorPercent: Int?

    package init(memoryBytes: UInt64, processes: Int, processorPercent: Int? = nil) {
        self.memoryBytes = memoryBytes
        self.processes = processes
        self.processorPercent = processorPercent
    }
}

/// The control group of one process.
package struct ControlGroup: Hashable, Sendable {
    let branches: [ControlGroupTree.Branch]

    private static let periodMicroseconds = 100_000

    fileprivate func make(_ limits: ControlGroupLimits) throws(SystemCallError) {
        let period = Self.periodMicroseconds
        let quota = limits.processorPercent.map { $0 * period / 100 }
        for branch in branches {
            try makeFolder(branch.folder, mode: 0o755)
            switch branch.kind {
            case .unified:
                try write("memory.max", "\(limits.memoryBytes)", branch)
                // Memory that can be pushed out is no limit; a kernel without swap lacks the file.
                try? write("memory.swap.max", "0", branch)
                try write("pids.max", "\(limits.processes)", branch)
                if let quota { try write("cpu.max", "\(quota) \(period)", branch) }
            case .memory: try write("memory.limit_in_bytes", "\(limits.memoryBytes)", branch)
            case .pids: try write("pids.max", "\(limits.processes)", branch)
            case .cpu:
                try write("cpu.cfs_period_us", "\(period)", branch)
                if let quota { try write("cpu.cfs_quota_us", "\(quota)", branch) }
            }
        }
    }

    private func write(
        _ file: String, _ text: String, _ branch: ControlGroupTree.Branch
    ) throws(SystemCallError) {
        try writeSmallFile(branch.folder + "/" + file, text)
    }

    /// Makes a process a member.
    package func add(_ processID: Int32) throws(SystemCallError) {
        for branch in branches { try write("cgroup.procs", "\(processID)", branch) }
    }

    /// How many members were killed because the group had no memory left.
    package var outOfMemoryKills: UInt64 {
        for branch in branches {
            let file: String
            switch branch.kind {
            case .unified: file = "memory.events"
            case .memory: file = "memory.oom_control"
            case .pids, .cpu: continue
            }
            guard let text = try? readSmallFile(branch.folder + "/" + file) else { continue }
            for line in text.split(separator: "\n") where line.hasPrefix("oom_kill ") {
                return UInt64(line.dropFirst("oom_kill ".count)) ?? 0
            }
        }
        return 0
    }

    /// Removes the group, which must have no member left.
    package func remove() {
        for branch in branches { removeFolder(branch.folder) }
    }
}

/// In which groups a process is: the lines of `/proc/PID/cgroup`.
struct ControlGroupMemberships {
    /// Of version 2; nil without it.
    var unifiedFolder: String?
    var separateFolders: [(ControlGroupTree.Branch.Kind, String)] = []

    private static let root = "/sys/fs/cgroup"

    init(text: String) {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let path = parts[2] == "/" ? "" : String(parts[2])
            guard !parts[1].isEmpty else {
                // With both versions the unified one is mounted beside the others.
                let place = isFolder(Self.root + "/unified") ? "/unified" : ""
                unifiedFolder = Self.root + place + path
                continue
            }
            for controller in parts[1].split(separator: ",") {
                let folder = "\(Self.root)/\(parts[1])\(path)"
                switch controller {
                case "memory": separateFolders.append((.memory, folder))
                case "pids": separateFolders.append((.pids, folder))
                case "cpu": separateFolders.append((.cpu, folder))
                default: break
                }
            }
        }
    }
}
