import ControlAPI
import Foundation
import GuestModel
import Testing

/// How a machine has no KVM.
enum MissingKVM: String, CaseIterable, Sendable, CustomTestStringConvertible {
    /// As this machine is: no device, or not for this user.
    case here = "here"
    case noDevice = "no device"
    case wrongDevice = "another device of that name"

    var testDescription: String { rawValue }

    /// Those that can be had here; /dev is changed in a mount namespace of its own.
    static let possible: [MissingKVM] = {
        guard Driver.kvm.isPresent else { return [.here] }
        return Machine.hasOwnMounts ? [.noDevice, .wrongDevice] : []
    }()

    /// The words in front of a command line.
    var starter: [String] {
        let change: String
        switch self {
        case .here: return []
        case .wrongDevice: change = "mount --bind /dev/null /dev/kvm"
        case .noDevice:
            // A /dev with what every program needs, and no more.
            change = """
                mount -t tmpfs dev /mnt && for name in null zero urandom; do
                : >/mnt/$name && mount --bind /dev/$name /mnt/$name; done && mount --rbind /mnt /dev
                """
        }
        return [
            "unshare", "--mount", "/bin/sh", "-c",
            "mount --make-rprivate / && { \(change); } && exec \"$0\" \"$@\"",
        ]
    }
}

extension IntegrationTests {
    /// KVM is not there (F30 of the failure matrix).
    @Suite(.serialized)
    struct NoHypervisor {
        @Test(
            .enabled(
                if: !MissingKVM.possible.isEmpty, "/dev/kvm is here and cannot be hidden"),
            arguments: MissingKVM.possible)
        func `F30: without KVM a sandbox that wants it fails once, "auto" takes the emulator`(
            missing: MissingKVM
        ) throws {
            var automatic = SandboxEntry("auto", "counter", startup: "run")
            automatic.hypervisor = "auto"
            let entries = [SandboxEntry("kvm", "counter", on: .kvm), automatic]
            try RunningSupervisor.with(entries, starter: missing.starter) { supervisor in
                let line = try supervisor.waitForEvent(
                    "kvm", "sandbox.state", containing: "-> failed: no usable hypervisor: kvm: ")
                print("F30: \(missing.testDescription): \(line.msg)")
                try supervisor.waitForEvent("auto", "sandbox.state", containing: "-> running")
                try supervisor.expectTicking("auto", try GuestImage.named("counter"))
                let status = try supervisor.status("kvm")
                #expect(status.state == .failed && status.restarts == 0)
                try #expect(supervisor.status("auto").driver?.name == .emulator)
                let check = try check(missing, supervisor.folder + "/s.json")
                #expect(check == .exit(69))
            }
        }

        @Test(
            .enabled(if: access("/dev/mshv", F_OK) != 0, "/dev/mshv is here"))
        func `without /dev/mshv a sandbox that wants it fails once, "auto" goes on`() throws {
            var wants = SandboxEntry("mshv", "counter", startup: "run")
            wants.hypervisor = "mshv"
            var automatic = SandboxEntry("auto", "counter", startup: "run")
            automatic.hypervisor = "auto"
            // Not even a stand-in, if the tests have one.
            let supervisor = try RunningSupervisor([wants, automatic], hasStandIn: false)
            defer { supervisor.end() }
            let line = try supervisor.waitForEvent(
                "mshv", "sandbox.state", containing: "-> failed: no usable hypervisor: mshv: ")
            #expect(line.msg.hasSuffix("open /dev/mshv: No such file or directory"))
            try supervisor.waitForEvent("auto", "sandbox.state", containing: "-> running")
            let status = try supervisor.status("mshv")
            #expect(status.state == .failed && status.restarts == 0)
            let program = try RunningProgram(
                Machine.program("hyperlight-supervisor"),
                ["--check", "--config", supervisor.folder + "/s.json"])
            defer { program.end() }
            #expect(try program.waitForEnd(.seconds(20)) == .exit(69))
            #expect(
                program.output.text.contains(
                    "sandbox mshv: no usable hypervisor: mshv: open /dev/mshv: No such file"))
        }

        /// How `--check` of a configuration ends there.
        private func check(_ missing: MissingKVM, _ path: String) throws -> RunningProgram.Ending {
            let words =
                missing.starter
                + [Machine.program("hyperlight-supervisor"), "--check", "--config", path]
            let program = try RunningProgram(words[0], Array(words.dropFirst()))
            defer { program.end() }
            return try program.waitForEnd(.seconds(20))
        }
    }
}
