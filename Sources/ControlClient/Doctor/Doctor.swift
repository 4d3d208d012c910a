import ControlAPI
import Glibc
import GuestModel
import Jail
import LinuxSystem

/// Looks at the machine; starts nothing but short-lived probes and gdb.
enum Doctor {
    typealias Check = DoctorReport.Check

    /// All checks that need no supervisor.
    static func machineReport() -> DoctorReport {
        let kvm = [
            device(
                "/dev/kvm", name: "kvm-device",
                absence: Absence(
                    verdict: .warn,
                    remedy: "enable virtualisation in the firmware or in the outer hypervisor; "
                        + "until then guests run on the emulator"),
                access: "sudo usermod -aG kvm USER, then log in again"),
            driver("kvm", program: "hyperlight-worker", isLastResort: false),
        ]
        let others = [
            driver("emulator", program: "hyperlight-worker-emulator", isLastResort: true),
            seccomp(), landlock(), users(), namespaces(), controlGroups(), debugger(),
        ]
        return DoctorReport(checks: microsoftHypervisor() + kvm + others)
    }

    /// Few machines have it, so nothing is wrong with those that have not.
    private static func microsoftHypervisor() -> [Check] {
        let path = "/dev/mshv"
        let check = device(
            path, name: "mshv-device",
            absence: Absence(
                verdict: .pass, detail: "only where Linux is the root of the Microsoft hypervisor"),
            access: "give the supervisor's user access, for example by a udev rule that sets the "
                + "group of \(path)")
        guard Glibc.access(path, F_OK) == 0 else { return [check] }
        return [check, driver("mshv", program: "hyperlight-worker", isLastResort: false)]
    }

    // MARK: Hypervisors

    /// What it means that a device does not exist.
    private struct Absence {
        let verdict: DoctorReport.Verdict
        var detail: String?
        var remedy: String?
    }

    /// `access` is what helps where the device is not for this user.
    private static func device(
        _ path: String, name: String, absence: Absence, access: String
    ) -> Check {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor < 0 else {
            close(descriptor)
            return Check(name: name, verdict: .pass, detail: "\(path) opens")
        }
        switch errno {
        case ENOENT, ENXIO, ENODEV:
            return Check(
                name: name, verdict: absence.verdict,
                detail: "\(path) does not exist"
                    + (absence.detail.map { "; it is there \($0)" } ?? ""),
                remedy: absence.remedy)
        case EACCES, EPERM:
            return Check(
                name: name, verdict: .warn, detail: "\(path): permission denied",
                remedy: access)
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

    // MARK: Profile strict

    private static func users() -> Check {
        let name = "own-users"
        guard isRoot() else {
            return Check(
                name: name, verdict: .warn,
                detail: "all processes run as user \(geteuid())", remedy: remedy(.user))
        }
        return Check(name: name, verdict: .pass, detail: "each process can have an id of its own")
    }

    /// Makes the namespaces that a strict child is born in, around a program that ends at once.
    private static func namespaces() -> Check {
        let name = "namespaces"
        let born: NamespaceSet = isRoot() ? .pid : [.pid, .user]
        let words = born.names.joined(separator: " and ")
        do throws(SystemCallError) {
            let child = try ChildProcess.spawn(
                path: "/bin/true", arguments: ["true"], environment: [], descriptors: [],
                namespaces: born)
            _ = waitForInput(child.pidfd, milliseconds: 1000)
            _ = child.reap()
            return Check(name: name, verdict: .pass, detail: "\(words) can be made")
        } catch {
            return Check(
                name: name, verdict: .warn, detail: "\(words) cannot be made: \(error)",
                remedy: remedy(.namespaces))
        }
    }

    private static func controlGroups() -> Check {
        let name = "control-groups"
        do throws(SystemCallError) {
            try ControlGroupTree.check()
            return Check(name: name, verdict: .pass, detail: "memory and processes can be limited")
        } catch {
            return Check(
                name: name, verdict: .warn, detail: error.description, remedy: remedy(.cgroup))
        }
    }

    private static func remedy(_ measure: IsolationMeasure) -> String {
        "for profile strict: " + measure.remedy
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
