import Glibc
import LinuxSystem
import Testing

@testable import Jail

/// What the system says of a confined process.
@Suite struct ConfinementTests {
    @Test(arguments: ProbeRun.roles)
    func `no capability is left and none can come back`(_ role: String) throws {
        let fields = try fields(of: role, in: "status")
        let isRoot = getuid() == 0
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] + (isRoot ? ["CapBnd"] : []) {
            #expect(fields[set] == "0000000000000000", "\(set)")
        }
        #expect(fields["NoNewPrivs"] == "1")
        #expect(fields["Seccomp"] == "2")
        #expect(fields["Threads"] == "1")
    }

    @Test(arguments: ProbeRun.roles)
    func `limits are as low as they can be`(_ role: String) throws {
        let limits = try text(of: role, in: "limits")
        let expected = [
            "Max core file size": "0", "Max file size": "0", "Max locked memory": "0",
            "Max msgqueue size": "0", "Max processes": "0", "Max open files": "32",
        ]
        for (name, value) in expected {
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

    @Test func `an error names the step and what the system says`() {
        let error = ConfinementError(
            step: .seccompFilter, cause: SystemCallError("prctl", code: EPERM))
        #expect(error.description == "seccomp filter: prctl: Operation not permitted")
    }

    private func text(of role: String, in file: String) throws -> String {
        let probe = try Probe([role, "wait"])
        let isConfined = probe.waitUntilConfined()
        try #require(isConfined)
        let text = try readAll("/proc/\(probe.process.processID)/\(file)")
        probe.process.signal(SIGKILL)
        _ = probe.waitForEnd()
        return text
    }

    private func fields(of role: String, in file: String) throws -> [String: String] {
        var fields: [String: String] = [:]
        for line in try text(of: role, in: file).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            fields[String(parts[0])] = String(parts[1].drop { $0 == "\t" || $0 == " " })
        }
        return fields
    }
}

/// All of a small file.
func readAll(_ path: String) throws -> String {
    let number = open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { throw SystemCallError("open", code: errno) }
    let file = OwnedDescriptor(number)
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = read(file.rawValue, &buffer, buffer.count)
    guard count >= 0 else { throw SystemCallError("read", code: errno) }
    return String(decoding: buffer.prefix(count), as: UTF8.self)
}
