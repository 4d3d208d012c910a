import Glibc
import GuestModel
import LinuxSystem
import Testing

@testable import Jail

/// What the system says of a confined process.
@Suite struct ConfinementTests {
    private static let isRoot = getuid() == 0
    /// A user id that nobody has.
    private static let stranger: UInt32 = 1_879_050_000

    /// Everything that a process can do to itself; `pid` and `user` belong to its birth.
    private static let strict =
        "strict,born=0,enters=\(NamespaceSet.entered.rawValue)"
        + (isRoot ? ",user=\(stranger)" : "")

    @Test(arguments: ProbeRun.roles)
    func `no capability is left and none can come back`(_ role: String) throws {
        let status = try status(of: role)
        #expect(status.inheritable == 0 && status.permitted == 0 && status.effective == 0)
        #expect(status.ambient == 0)
        if Self.isRoot { #expect(status.bounding == 0) }
        #expect(status.hasNoNewPrivileges)
        #expect(status.seccompMode == 2)
        #expect(status.threadCount == 1)
    }

    @Test(arguments: ProbeRun.roles)
    func `limits are as low as they can be`(_ role: String) throws {
        let limits = try text(
            of: role + "/container,born=0,enters=0,memory=1073741824", in: "limits")
        var expected = [
            "Max core file size": "0", "Max file size": "0", "Max locked memory": "0",
            "Max msgqueue size": "0", "Max processes": "0", "Max open files": "16",
            "Max pending signals": "64", "Max stack size": "1048576",
            "Max address space": "1073741824",
        ]
        // The Microsoft hypervisor pins a guest's memory, which its kernel may count as locked.
        if role == "mshv" { expected["Max locked memory"] = nil }
        // A sanitizer reserves terabytes, so its builds do without that limit.
        for (name, value) in expected where !isSanitized || name != "Max address space" {
            let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix(name) })
            let words = line.dropFirst(name.count).split(separator: " ")
            #expect(words.prefix(2) == [value[...], value[...]], "\(name)")
        }
    }

    @Test(arguments: ProbeRun.roles)
    func `memory of a confined process belongs to nobody but root`(_ role: String) throws {
        let probe = try Probe([role, "wait"])
        let isConfined = probe.waitUntilConfined()
        try #require(isConfined)
        var status = stat()
        #expect(stat("/proc/\(probe.process.processID)/mem", &status) == 0)
        #expect(status.st_uid == 0)
        probe.process.signal(SIGKILL)
        _ = probe.waitForEnd()
    }

    @Test(
        .enabled(if: Machine.canMakeNamespaces, "this system lets nobody here make namespaces"),
        arguments: ProbeRun.roles)
    func `a strict process sees an empty folder and shares no namespace`(_ role: String) throws {
        let born: NamespaceSet = Self.isRoot ? .pid : [.pid, .user]
        let probe = try Probe(["\(role)/\(Self.strict)", "wait"], namespaces: born)
        let isConfined = probe.waitUntilConfined()
        try #require(isConfined)
        let processID = probe.process.processID
        let mounts = try readSmallFile("/proc/\(processID)/mountinfo").split(separator: "\n")
        #expect(mounts.count == 1, "\(mounts)")
        #expect(
            mounts.first?.contains(" / / ro,") == true && mounts.first?.contains("tmpfs") == true)
        #expect(folderContent("/proc/\(processID)/root/") == [])
        for name in ["mnt", "net", "ipc", "uts", "pid", "cgroup"] + (Self.isRoot ? [] : ["user"]) {
            let theirs = link("/proc/\(processID)/ns/\(name)")
            #expect(theirs != nil && theirs != link("/proc/self/ns/\(name)"), "\(name)")
        }
        let status = try ProcessStatus.read(processID: processID)
        #expect(status.bounding == 0)
        #expect(
            status.pidNamespaceDepth == (try ProcessStatus.read(processID: getpid()))
                .pidNamespaceDepth + 1)
        if Self.isRoot {
            #expect(status.users == Array(repeating: Self.stranger, count: 4))
            #expect(status.groups == Array(repeating: Self.stranger, count: 4))
            #expect(status.supplementaryGroups == [])
        }
        probe.process.signal(SIGKILL)
        _ = probe.waitForEnd()
    }

    @Test(arguments: ProbeRun.roles)
    func `a measure that is refused is reported and the rest is in force`(_ role: String) throws {
        // Nobody may leave a mount namespace without a capability.
        let probe = try Probe([
            "\(role)\(Self.isRoot ? "@nobody" : "")/\(Self.strict)", "missing",
        ])
        let end = probe.waitForEnd()
        // One bit a measure, in the order of their cases.
        let namespaces = Int32(1 << (IsolationMeasure.allCases.firstIndex(of: .namespaces) ?? 0))
        let user = Int32(1 << (IsolationMeasure.allCases.firstIndex(of: .user) ?? 0))
        // And Landlock, where this kernel has none.
        let landlock = Int32(1 << (IsolationMeasure.allCases.firstIndex(of: .landlock) ?? 0))
        let lacksLandlock = (try? Landlock.abi()) == nil
        #expect(
            end
                == .exited(
                    namespaces | (Self.isRoot ? user : 0) | (lacksLandlock ? landlock : 0)))
    }

    @Test(
        .enabled(if: (try? Landlock.abi()) == 7, "needs a kernel with Landlock ABI 7"),
        arguments: ProbeRun.roles)
    func `Landlock is in force by itself, before there is a filter`(_ role: String) throws {
        #expect(try ProbeRun.end([role, "landlocked"]) == ProbeRun.survived)
        let without = "\(role)/developer,born=0,enters=0"
        #expect(try ProbeRun.end([without, "landlocked"]) == .exited(70))
    }

    @Test func `a process whose supervisor is gone already does not begin`() throws {
        // Descriptor 3 of this probe is a socket without another end.
        #expect(try ProbeRun.end(["worker", "orphan"]) == .exited(70))
    }

    @Test func `a signal at the wrong moment is no reason to end`() throws {
        #expect(try ProbeRun.end(["free", "interrupted"]) == ProbeRun.survived)
    }

    @Test(arguments: ProbeRun.roles)
    func `a developer may look into the process`(_ role: String) throws {
        let probe = try Probe(["\(role)/developer,born=0,enters=0", "wait"])
        let isConfined = probe.waitUntilConfined()
        try #require(isConfined)
        let status = try ProcessStatus.read(processID: probe.process.processID)
        #expect(status.seccompMode == 2 && status.hasNoNewPrivileges && status.permitted == 0)
        var file = stat()
        #expect(stat("/proc/\(probe.process.processID)/mem", &file) == 0)
        #expect(file.st_uid == geteuid())
        probe.process.signal(SIGKILL)
        _ = probe.waitForEnd()
    }

    @Test func `an error names the step and what the system says`() {
        let error = ConfinementError(
            step: .seccompFilter, cause: SystemCallError("prctl", code: EPERM))
        #expect(error.description == "seccomp filter: prctl: Operation not permitted")
    }

    private func text(of role: String, in file: String) throws -> String {
        let probe = try Probe([role, "wait"])
        let isConfined = probe.waitUntilConfined()
        try #require(isConfined)
        let text = try readSmallFile("/proc/\(probe.process.processID)/\(file)")
        probe.process.signal(SIGKILL)
        _ = probe.waitForEnd()
        return text
    }

    private func status(of role: String) throws -> ProcessStatus {
        try #require(ProcessStatus(text: try text(of: role, in: "status")))
    }

    private func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What this machine lets tests do.
enum Machine {
    /// Root makes namespaces, others where user namespaces are allowed.
    static let canMakeNamespaces: Bool = {
        let born: NamespaceSet = getuid() == 0 ? .pid : [.pid, .user]
        guard let probe = try? Probe(["free", "work"], namespaces: born) else { return false }
        return probe.waitForEnd() == ProbeRun.survived
    }()
}
