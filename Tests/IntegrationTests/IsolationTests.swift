import ControlAPI
import Foundation
import Glibc
import GuestModel
import Testing
import WireProtocol

extension IntegrationTests {
    /// The jail as it is: read from `/proc` while the programs run.
    @Suite(.serialized)
    struct Isolation {
        private static let isRoot = getuid() == 0

        private static func entry(_ name: String, _ driver: Driver, _ profile: String?)
            -> SandboxEntry
        {
            var entry = SandboxEntry(name, "counter", on: driver, startup: "run")
            entry.isolation = SandboxEntry.Isolation(profile: profile)
            return entry
        }

        private func withRunning(
            _ entries: [SandboxEntry], starter: [String] = [],
            _ body: (RunningSupervisor) throws -> Void
        ) throws {
            try RunningSupervisor.with(entries, starter: starter) { supervisor in
                for entry in entries {
                    try supervisor.waitForEvent(entry.name, "sandbox.state", containing: "running")
                    try Deadline.wait(.seconds(5), for: "both jails of \(entry.name)") {
                        try supervisor.details(entry.name).isolation.processes.count == 2
                    }
                }
                try body(supervisor)
            }
        }

        // MARK: The privilege table

        @Test(
            .enabled(if: isRoot, "only root can give each process a user id of its own"),
            arguments: Driver.present)
        func `strict: worker and stub have what the privilege table says and nothing else`(
            _ driver: Driver
        ) throws {
            try withRunning([
                Self.entry("zero", driver, nil), Self.entry("one", driver, "strict"),
            ]) { supervisor in
                for (index, name) in ["zero", "one"].enumerated() {
                    let details = try supervisor.details(name)
                    #expect(details.isolation.profile == .strict)
                    for process in details.isolation.processes {
                        let user =
                            1_879_048_192 + 2 * UInt32(index) + (process.role == "stub" ? 1 : 0)
                        try expectStrict(ProcessView(process.pid), process, user, driver)
                    }
                }
                try expectSupervisor(ProcessView(supervisor.program.processID), strict: true)
            }
        }

        private func expectStrict(
            _ view: ProcessView, _ process: ProcessConfinement, _ user: UInt32, _ driver: Driver
        ) throws {
            let id = "\(user)"
            try expectBare(view, pinsMemory: driver == .mshv && process.role == "worker")
            #expect(view["Uid"] == [id, id, id, id] && view["Gid"] == [id, id, id, id])
            #expect(view["Groups"] == [])
            #expect(view["CapBnd"] == ["0000000000000000"])
            #expect(view["NSpid"]?.count == 2)
            for name in ["mnt", "net", "ipc", "uts", "pid", "cgroup"] {
                #expect(view.sharesNamespace(name) == false, "\(name)")
            }
            #expect(view.mounts.count == 1)
            #expect(view.mounts.first?.contains("ro,nosuid,nodev,noexec") == true)
            #expect(view.rootContent == [])
            let isKVM = driver.hasKernelThread && process.role == "worker"
            #expect(view["Threads"].map { $0 == ["1"] || isKVM && $0 == ["2"] } == true)
            try expectDescriptors(view, process.role, isKVM: isKVM)
            #expect(process.user == user && process.capabilities == "0" && process.seccompMode == 2)
            #expect(process.namespaces == ["pid", "mnt", "net", "ipc", "uts", "cgroup"])
            print("isolation: \(driver) \(process.role): \(process.text)")
            print(
                "isolation: \(driver) \(process.role): descriptors \(view.descriptors.values.sorted())"
            )
        }

        /// What every profile but developer gives.
        private func expectBare(_ view: ProcessView, pinsMemory: Bool) throws {
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                #expect(view[set] == ["0000000000000000"], "\(set)")
            }
            #expect(view["NoNewPrivs"] == ["1"])
            #expect(view["Seccomp"] == ["2"])
            let limits = [
                "Max core file size": "0", "Max file size": "0", "Max open files": "16",
                "Max processes": "0", "Max msgqueue size": "0",
                "Max stack size": "1048576", "Max pending signals": "64",
            ]
            for (name, value) in limits { #expect(view.limit(name) == value, "\(name)") }
            // The kernel pins the memory of a guest of MSHV, which may count as locked.
            #expect(view.limit("Max locked memory") == "0" || pinsMemory)
            if !Machine.isSanitized { #expect(view.limit("Max address space") != "unlimited") }
            // What cannot be dumped belongs to root, whoever runs it.
            #expect(view.ownerOfMemory == 0)
        }

        private func expectDescriptors(_ view: ProcessView, _ role: String, isKVM: Bool) throws {
            // Only root may look at those of a process that cannot be dumped.
            guard Self.isRoot else { return }
            var kinds = view.descriptors.mapValues { $0.prefix { $0 != "[" && $0 != ":" } }
            // Nothing but these, whatever their numbers; the numbers that filters look at as well.
            let allowed: Set<Substring> = [
                "/dev/null", "/null", "pipe", "socket", "anon_inode", "/memfd",
            ]
            #expect(Set(kinds.values).subtracting(allowed) == [], "\(view.descriptors)")
            #expect(kinds.removeValue(forKey: 1) == "pipe")
            #expect(kinds.removeValue(forKey: 2) == "pipe")
            #expect(kinds.removeValue(forKey: 3) == "socket")
            kinds[0] = nil
            if role == "stub" {
                // The guest's file, for clients without one of their own.
                #expect(view.descriptors[7]?.hasPrefix("/memfd:guest-") == true)
                kinds[7] = nil
            }
            if isKVM {
                #expect(view.descriptors[7] == "anon_inode:kvm-vm")
                #expect(view.descriptors[8] == "anon_inode:kvm-vcpu:0")
                kinds[7] = nil
                kinds[8] = nil
            }
            #expect(kinds.values.allSatisfy { $0 == "socket" }, "\(view.descriptors)")
            #expect(view.descriptors.count <= 16)
        }

        private func expectSupervisor(_ view: ProcessView, strict: Bool) throws {
            let kept = strict ? "00000000002001e0" : "0000000000000000"
            for set in ["CapPrm", "CapEff"] { #expect(view[set] == [kept], "\(set)") }
            if Self.isRoot { #expect(view["CapBnd"] == [kept]) }
            for set in ["CapInh", "CapAmb"] { #expect(view[set] == ["0000000000000000"], "\(set)") }
            #expect(view["NoNewPrivs"] == [strict ? "0" : "1"])
            #expect(view["Seccomp"] == ["2"])
            #expect(view.ownerOfMemory == 0)
            #expect(view.limit("Max core file size") == "0")
            print("isolation: supervisor: CapPrm \(kept), NoNewPrivs \(strict ? 0 : 1), Seccomp 2")
        }

        @Test(arguments: Driver.present)
        func `container: everything that needs no namespace and no other user`(
            _ driver: Driver
        ) throws {
            try withRunning([Self.entry("a", driver, "container")]) { supervisor in
                let isolation = try supervisor.details("a").isolation
                #expect(isolation.profile == .container)
                for process in isolation.processes {
                    let view = ProcessView(process.pid)
                    try expectBare(view, pinsMemory: driver == .mshv && process.role == "worker")
                    #expect(view["Uid"]?.first == "\(getuid())")
                    #expect(view.sharesNamespace("net") != false)
                    #expect(process.namespaces == [])
                    #expect(process.missing.allSatisfy { $0.hasPrefix("landlock") })
                    try expectDescriptors(
                        view, process.role,
                        isKVM: driver.hasKernelThread && process.role == "worker")
                }
                try expectSupervisor(ProcessView(supervisor.program.processID), strict: false)
            }
        }

        private static func lacks(_ text: String, _ process: ProcessConfinement) -> Bool {
            process.missing.contains { $0.hasPrefix(text) }
        }

        @Test(.enabled(if: !isRoot, "root takes other users instead of a user namespace"))
        func `strict without root: a user namespace, or a word about it`() throws {
            try withRunning([Self.entry("a", .emulator, "strict")]) { supervisor in
                let isolation = try supervisor.details("a").isolation
                for process in isolation.processes {
                    #expect(Self.lacks("user: setresuid", process))
                    let isRefused = Self.lacks("namespaces", process)
                    #expect(process.namespaces.count == (isRefused ? 0 : 7))
                    print("isolation: without root, \(process.role): \(process.text)")
                }
                try expectSupervisor(ProcessView(supervisor.program.processID), strict: false)
                try supervisor.waitForEvent("a", "isolation.missing", containing: "without user")
            }
        }

        @Test func `developer: a forbidden call is logged and the worker can be looked into`()
            throws
        {
            try withRunning([Self.entry("a", .emulator, "developer")]) { supervisor in
                let isolation = try supervisor.details("a").isolation
                for process in isolation.processes {
                    #expect(process.seccompMode == 2 && process.capabilities == "0")
                    #expect(process.landlockABI == 0)
                    #expect(ProcessView(process.pid).ownerOfMemory == getuid())
                }
            }
        }

        // MARK: What cannot be had

        /// Starts its words without the right to make namespaces.
        private static let withoutNamespaces = [
            "setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin",
        ]

        @Test(.enabled(if: isRoot, "only root loses a right by this"))
        func `a required measure that cannot be had keeps the sandbox from starting`() throws {
            var entry = Self.entry("a", .emulator, "strict")
            entry.isolation?.require = ["namespaces"]
            try RunningSupervisor.with([entry], starter: Self.withoutNamespaces) { supervisor in
                let record = try supervisor.waitForEvent("a", "isolation.required")
                #expect(record.msg.contains("namespaces cannot be had"))
                #expect(record.msg.contains("Operation not permitted"), "\(record.msg)")
                #expect(record.msg.contains("user.max_user_namespaces"), "\(record.msg)")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
                try Deadline.wait(.seconds(5), for: "the end of the worker") {
                    try supervisor.status("a").workerPID == nil
                }
                // It is not tried again, and it never saw its guest.
                try #expect(supervisor.status("a").generation == 1)
                #expect(!supervisor.log.contains { $0.msg.contains("-> running") })
            }
        }

        @Test(.enabled(if: isRoot, "only root loses a right by this"))
        func `a measure that is not required is a warning when it cannot be had`() throws {
            try withRunning(
                [Self.entry("a", .emulator, "strict")], starter: Self.withoutNamespaces
            ) { supervisor in
                for role in ["worker", "stub"] {
                    try supervisor.waitForEvent(
                        "a", "isolation.missing", containing: "\(role) without namespaces")
                }
                let (_, text) = try supervisor.control(["show", "a"])
                #expect(text.contains("worker lacks"), "\(text)")
                #expect(text.contains("Operation not permitted"), "\(text)")
            }
        }

        @Test(.enabled(if: Machine.hasLandlock, "needs a kernel with Landlock"))
        func `a measure that is only short is not gone without, and a later worker tries again`()
            throws
        {
            try RunningSupervisor.with(
                [Self.entry("a", .emulator, "container")],
                starter: [Machine.program("refuse"), "memory"]
            ) { supervisor in
                try supervisor.waitForEvent(
                    "a", "sandbox.state",
                    containing: "not confined: landlock: landlock_restrict_self: Cannot allocate")
                try supervisor.waitForEvent("a", "worker.exited", containing: "71")
                try Deadline.wait(.seconds(5), for: "the next worker") {
                    try supervisor.status("a").generation >= 2
                }
                #expect(!supervisor.log.contains { $0.msg.contains("-> running") })
            }
        }

        @Test func `a measure that the profile does not have cannot be required`() throws {
            var entry = Self.entry("a", .emulator, "container")
            entry.isolation?.require = ["cgroup"]
            try RunningSupervisor.with([entry]) { supervisor in
                try supervisor.waitForEvent(
                    "a", "isolation.required",
                    containing: "cgroup is no part of profile container")
                try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
            }
        }

        @Test func `a worker that is not confined as planned is killed before it begins`() throws {
            let programs = try ProgramCopies()
            let version = WireLimits.protocolVersion
            // A greeting of this build by a process that has confined nothing at all.
            try programs.replaceWorker(
                by: """
                    exec python3 -c '
                    import socket, struct, time
                    build = b"\(try ProgramCopies.build)"
                    body = struct.pack("<II", \(version), len(build)) + build + bytes([7, 63, 0])
                    frame = struct.pack("<HHI", 301, 0, len(body)) + body
                    control = socket.socket(fileno=3)
                    control.send(frame)
                    time.sleep(60)
                    '
                    """)
            for profile in Self.isRoot ? ["strict", "container"] : ["container"] {
                let entry = Self.entry("a", .emulator, profile)
                try RunningSupervisor.with([entry], programs: programs.folder) { supervisor in
                    let record = try supervisor.waitForEvent("a", "isolation.mismatch")
                    // The rest a child of a supervisor without rights has by its birth.
                    var words = [" filters instead of "]
                    if profile == "strict" {
                        words += ["no no_new_privs", "user ids", "permitted capabilities"]
                    }
                    for word in words { #expect(record.msg.contains(word), "\(record.msg)") }
                    try supervisor.waitForEvent("a", "sandbox.state", containing: "-> failed")
                    try Deadline.wait(.seconds(5), for: "the end of the worker") {
                        try supervisor.status("a").workerPID == nil
                    }
                }
            }
        }

        // MARK: Violations

        /// A worker that makes one system call as soon as it is confined.
        private func withViolator(
            _ call: String, diagnose: Bool, _ body: (RunningSupervisor) throws -> Void
        ) throws {
            let programs = try ProgramCopies()
            try programs.replaceWorker(
                by: "exec \(Machine.program("jail-probe")) emulator/$4 call \(call)")
            var entry = Self.entry("a", .emulator, nil)
            entry.isolation?.diagnose = diagnose
            try RunningSupervisor.with([entry], programs: programs.folder, body)
        }

        @Test(arguments: [("41 1 1 0", "41 (socket)"), ("59 0 0 0", "59 (execve)"), ("999", "999")])
        func `F2: with diagnose the log names the forbidden call`(
            _ call: String, _ name: String
        ) throws {
            try withViolator(call, diagnose: true) { supervisor in
                let record = try supervisor.waitForEvent("a", "seccomp.violation")
                #expect(record.msg.contains("system call \(name)"), "\(record.msg)")
                let end = try supervisor.waitForEvent("a", "worker.exited", containing: "signal 9")
                print("F2: \(record.msg); killed \(Int((end.time - record.time) * 1e6)) us later")
            }
        }

        @Test func `F2: without diagnose the log tells the signal`() throws {
            try withViolator("41 1 1 0", diagnose: false) { supervisor in
                try supervisor.waitForEvent("a", "worker.exited", containing: "signal 31 (SYS")
            }
        }

        // MARK: Memory

        @Test(arguments: Driver.present)
        func `F23: a worker that goes over its memory limit ends alone, and the log says why`(
            _ driver: Driver
        ) throws {
            var hungry = SandboxEntry("hungry", "tests/hungry", on: driver, startup: "run")
            hungry.limits = SandboxEntry.Limits(memory: "48MiB")
            hungry.isolation = SandboxEntry.Isolation(profile: Self.isRoot ? nil : "strict")
            let entries = [hungry, Self.entry("other", driver, nil)]
            try RunningSupervisor.with(entries) { supervisor in
                try supervisor.waitForEvent("other", "sandbox.state", containing: "-> running")
                let lacksGroup = supervisor.log.contains {
                    $0.event == "isolation.missing" && $0.msg.contains("worker without cgroup")
                }
                guard !lacksGroup else {
                    print("F23: not tried, this system gives no control group")
                    return
                }
                let record = try supervisor.waitForEvent("hungry", "worker.out-of-memory")
                let start = try #require(supervisor.log.first { $0.event == "supervisor.started" })
                print(
                    "F23: \(driver): killed \(Int((record.time - start.time) * 1000)) ms after start"
                )
                try #expect(supervisor.status("other").state == .running)
            }
        }
    }
}

/// What `/proc` shows of a process.
struct ProcessView {
    private let processID: Int32
    private var fields: [String: [String]] = [:]

    init(_ processID: Int32) {
        self.processID = processID
        for line in Self.text("/proc/\(processID)/status").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            fields[String(parts[0])] = parts[1].split { $0 == "\t" || $0 == " " }.map(String.init)
        }
    }

    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    subscript(field: String) -> [String]? { fields[field] }

    func limit(_ name: String) -> String? {
        let line = Self.text("/proc/\(processID)/limits").split(separator: "\n")
            .first { $0.hasPrefix(name) }
        return line?.dropFirst(name.count).split(separator: " ").first.map(String.init)
    }

    var ownerOfMemory: UInt32? {
        var status = stat()
        guard stat("/proc/\(processID)/mem", &status) == 0 else { return nil }
        return status.st_uid
    }

    /// Nil when this user may not look.
    func sharesNamespace(_ name: String) -> Bool? {
        let manager = FileManager.default
        guard
            let theirs = try? manager.destinationOfSymbolicLink(
                atPath: "/proc/\(processID)/ns/\(name)"),
            let ours = try? manager.destinationOfSymbolicLink(atPath: "/proc/self/ns/\(name)")
        else { return nil }
        return theirs == ours
    }

    var mounts: [Substring] { Self.text("/proc/\(processID)/mountinfo").split(separator: "\n") }

    var rootContent: [String]? {
        try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(processID)/root/")
    }

    /// What stands behind each descriptor; empty when this user may not look.
    var descriptors: [Int: String] {
        let folder = "/proc/\(processID)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.reduce(into: [:]) { result, name in
            guard let number = Int(name) else { return }
            result[number] = try? FileManager.default.destinationOfSymbolicLink(
                atPath: folder + "/" + name)
        }
    }
}
