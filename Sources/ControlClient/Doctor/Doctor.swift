import ControlAPI
import Glibc

/// Looks at the machine; starts nothing but short-lived probes and gdb.
enum Doctor {
    typealias Check = DoctorReport.Check

    /// All checks that need no supervisor.
    static func machineReport() -> DoctorReport {
        var checks = [
            device("/dev/kvm", name: "kvm-device"),
            driver("kvm", program: "hyperlight-worker", isLastResort: false),
            driver("emulator", program: "hyperlight-worker-emulator", isLastResort: true),
            seccomp(), landlock(), userNamespaces(), debugger(),
        ]
        if access("/dev/mshv", F_OK) == 0 {
            checks.insert(device("/dev/mshv", name: "mshv-device"), at: 1)
        }
        return DoctorReport(checks: checks)
    }

    // MARK: Hypervisors

    private static func device(_ path: String, name: String) -> Check {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor < 0 else {
            close(descriptor)
            return Check(name: name, verdict: .pass, detail: "\(path) opens")
        }
        switch errno {
        case ENOENT, ENXIO, ENODEV:
            return Check(
                name: name, verdict: .warn, detail: "\(path) does not exist",
                remedy: "enable virtualisation in the firmware or in the outer hypervisor; "
                    + "until then guests run on the emulator")
        case EACCES, EPERM:
            return Check(
                name: name, verdict: .warn, detail: "\(path): permission denied",
                remedy: "sudo usermod -aG kvm USER, then log in again")
        case let code:
            return Check(
                name: name, verdict: .warn,
                detail: "\(path): \(String(cString: strerror(code)))")
        }
    }

    /// Asks the worker program beside this one what its driver can do.
    private static func driver(_ driver: String, program: String, isLastResort: Bool) -> Check {
        let name = "\(driver)-driver"
        let bad: DoctorReport.Verdict = isLastResort ? .fail : .warn
        guard let path = Probe.sibling(program) else {
            return Check(
                name: name, verdict: bad, detail: "\(program) is not beside hyperlight-ctl",
                remedy: "install the programs into one folder")
        }
        let result = Probe.run([path, "--probe", driver])
        let line = result.firstLine
        guard result.isSuccess else {
            return Check(
                name: name, verdict: bad, detail: line.isEmpty ? "the probe failed" : line)
        }
        return Check(
            name: name, verdict: Probe.isLimited(line) ? .warn : .pass, detail: line,
            remedy: Probe.isLimited(line)
                ? "fine for integer-only guests; \"hypervisor\": \"auto\" takes another driver"
                : nil)
    }

    // MARK: Kernel

    private static func seccomp() -> Check {
        let name = "seccomp"
        let actions = Probe.words(ofFile: "/proc/sys/kernel/seccomp/actions_avail")
        guard actions.contains("kill_process"), actions.contains("errno") else {
            return Check(
                name: name, verdict: .fail, detail: "the kernel offers no seccomp filters",
                remedy: "use a kernel with CONFIG_SECCOMP_FILTER")
        }
        return Check(
            name: name, verdict: .pass, detail: "actions: " + actions.joined(separator: " "))
    }

    private static func landlock() -> Check {
        let name = "landlock"
        guard let version = Probe.landlockVersion() else {
            return Check(
                name: name, verdict: .warn, detail: "the kernel offers no Landlock",
                remedy: "boot with landlock in the kernel parameter lsm=")
        }
        return Check(name: name, verdict: .pass, detail: "abi \(version)")
    }

    private static func userNamespaces() -> Check {
        let name = "user-namespaces"
        let limit = Probe.words(ofFile: "/proc/sys/user/max_user_namespaces").first
        let switches = [
            ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ]
        if limit == nil || limit == "0" {
            return Check(
                name: name, verdict: .warn, detail: "no user namespaces",
                remedy: "sysctl user.max_user_namespaces=10000")
        }
        for (path, closed) in switches where Probe.words(ofFile: path).first == closed {
            return Check(
                name: name, verdict: geteuid() == 0 ? .pass : .warn,
                detail: "for root only (\(path) is \(closed))")
        }
        return Check(name: name, verdict: .pass, detail: "at most \(limit ?? "0")")
    }

    // MARK: Debugger

    private static func debugger() -> Check {
        let name = "gdb"
        let result = Probe.run(["gdb", "--version"])
        guard result.isSuccess, let version = gdbVersion(result.firstLine) else {
            return Check(
                name: name, verdict: .warn, detail: "gdb was not found",
                remedy: "sudo apt install gdb")
        }
        guard version >= 13 else {
            return Check(
                name: name, verdict: .warn, detail: result.firstLine,
                remedy: "use gdb 13 or later; older ones were not tried")
        }
        return Check(name: name, verdict: .pass, detail: result.firstLine)
    }

    /// The major version in `GNU gdb (Debian 13.1-3) 13.1`.
    static func gdbVersion(_ line: String) -> Int? {
        guard line.hasPrefix("GNU gdb"), let last = line.split(separator: " ").last else {
            return nil
        }
        return last.split(separator: ".").first.flatMap { Int($0) }
    }
}
