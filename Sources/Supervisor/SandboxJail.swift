import Glibc
import GuestModel
import Jail
import LinuxSystem
import SandboxConfig

/// How the processes of one sandbox are to be confined.
struct SandboxJail: Sendable {
    let profile: IsolationProfile
    let required: Set<IsolationMeasure>
    private let settings: SandboxSettings
    private let isRoot: Bool
    private let firstUserID: UInt32
    let groups: ControlGroupTree?
    /// Somebody who has one of the ids already, for whom the processes would be no strangers; asked
    /// once, because the database of users may be far away.
    let userConflict: String?

    /// The jail of the sandbox at place `index` of the file, which decides its user ids.
    ///
    /// `firstUserID` is that of sandbox 0's worker; `groups` is nil when this system gives none.
    init(
        _ settings: SandboxSettings, index: Int, firstUserID: UInt32, isRoot: Bool,
        groups: ControlGroupTree?
    ) {
        profile = settings.isolation.profile ?? Self.standardProfile(isRoot: isRoot)
        required = settings.isolation.required
        self.settings = settings
        self.isRoot = isRoot
        let own = firstUserID + 2 * UInt32(index)
        self.firstUserID = own
        self.groups = groups
        userConflict = profile == .strict && isRoot ? Self.conflict(over: own...own + 1) : nil
    }

    private static func conflict(over identities: ClosedRange<UInt32>) -> String? {
        for identity in identities {
            guard let name = userName(of: identity) else { continue }
            return "user id \(identity) belongs to \(name); set another \"users.base\""
        }
        return nil
    }

    static func standardProfile(isRoot: Bool) -> IsolationProfile {
        isRoot ? .strict : .container
    }

    /// What the child that plays `role` has to carry out.
    func plan(for role: ConfinedRole) -> JailPlan {
        var plan = JailPlan(profile: profile, addressSpaceBytes: addressSpaceBytes(of: role))
        plan.reportsViolations = settings.isolation.reportsViolations
        guard profile == .strict else { return plan }
        plan.bornIn = isRoot ? .pid : [.pid, .user]
        plan.enters = .entered
        plan.identity = isRoot ? identity(of: role) : nil
        return plan
    }

    /// What is missing before a child is even started.
    func missing(for role: ConfinedRole) -> [MissingMeasure] {
        guard profile == .strict, !isRoot else { return [] }
        return [MissingMeasure(.user, step: "setresuid", code: EPERM)]  // without asking
    }

    /// Two ids a sandbox, so that not even worker and stub can signal each other.
    func identity(of role: ConfinedRole) -> UInt32 {
        switch role {
        case .workerKVM, .workerMSHV, .workerEmulator: firstUserID
        case .stub: firstUserID + 1
        }
    }

    /// The group for one child, or nil where the profile wants none.
    func makeGroup(for role: ConfinedRole) throws(SystemCallError) -> ControlGroup? {
        guard profile.measures.contains(.cgroup) else { return nil }
        guard let groups else { throw SystemCallError("control groups", code: ENOENT) }
        switch role {
        case .workerKVM, .workerMSHV, .workerEmulator:
            return try groups.makeGroup(
                "\(settings.name)-worker",
                limits: ControlGroupLimits(
                    memoryBytes: settings.limits.memory ?? guestBytesMax + hostBytes(of: role),
                    processes: 8, processorPercent: settings.limits.processorPercent))
        case .stub:
            return try groups.makeGroup(
                "\(settings.name)-stub",
                limits: ControlGroupLimits(memoryBytes: Self.stubBytes, processes: 4))
        }
    }

    // MARK: Memory

    /// The image is read only after confinement, so its share is its limit.
    private static let imageBytesMax: UInt64 = 1 << 30
    private static let stubBytes: UInt64 = 32 << 20
    private static let stubAddressSpaceBytes: UInt64 = 256 << 20
    private static let workerAddressSpaceBytes: UInt64 = 512 << 20
    /// What the emulator may use for the code that it makes; its buffer is one third of it.
    private static let codeBufferBytes: UInt64 = 256 << 20

    private var guestBytesMax: UInt64 {
        let memory = settings.memory
        return memory.heap + memory.scratch + memory.inputData + memory.outputData
            + Self.imageBytesMax
    }

    /// Private memory of a worker beside its guest's.
    private func hostBytes(of role: ConfinedRole) -> UInt64 {
        switch role {
        case .workerKVM, .workerMSHV, .stub: 32 << 20
        case .workerEmulator: 32 << 20 + Self.codeBufferBytes
        }
    }

    private func addressSpaceBytes(of role: ConfinedRole) -> UInt64 {
        switch role {
        // While it is loaded the image is there twice: as the file, and in the guest.
        case .workerKVM, .workerMSHV:
            guestBytesMax + Self.imageBytesMax + Self.workerAddressSpaceBytes
        case .workerEmulator:
            guestBytesMax + Self.imageBytesMax + Self.workerAddressSpaceBytes
                + Self.codeBufferBytes
        case .stub: Self.stubAddressSpaceBytes
        }
    }
}
