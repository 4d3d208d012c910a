import Foundation
import GuestModel
import Testing

@testable import Supervisor

struct DriverProbeTests {
    private static let answers: [(line: String, result: ProbeResult)] = [
        ("driver=kvm usable=yes capabilities=12", .usable(DriverCapabilities(rawValue: 12))),
        ("capabilities=0 usable=yes", .usable([])),
        ("driver=kvm usable=no reason=open /dev/kvm: denied", .unusable("open /dev/kvm: denied")),
        ("driver=kvm usable=no reason=", .unusable("")),
        (
            "driver=kvm usable=no reason=open /x usable=yes capabilities=12 : denied",
            .unusable("open /x usable=yes capabilities=12 : denied")
        ),
        ("driver=kvm usable=yes", .unusable("driver=kvm usable=yes")),
        ("usable=yes capabilities=-1", .unusable("usable=yes capabilities=-1")),
        ("usable=yes capabilities=4294967296", .unusable("usable=yes capabilities=4294967296")),
        ("usable=yes capabilities=", .unusable("usable=yes capabilities=")),
        ("Fatal error: something", .unusable("Fatal error: something")),
        ("", .unusable("")),
    ]

    @Test(arguments: answers)
    func `an answer is read, and anything else is the reason`(
        answer: (line: String, result: ProbeResult)
    ) {
        #expect(DriverProbe.parse(answer.line) == answer.result)
    }

    /// Probes with this shell script in the worker's place.
    private func probe(_ script: String) throws -> (result: ProbeResult, folder: TemporaryFolder) {
        let folder = try TemporaryFolder()
        try folder.write("hyperlight-worker", "#!/bin/sh\n" + script, mode: 0o700)
        return (DriverProbe.run(.kvm, programs: ProgramFolder(path: folder.path)), folder)
    }

    @Test
    func `the last line of a worker is its answer`() throws {
        let result = try probe("echo noise\necho usable=yes capabilities=3\n").result
        #expect(result == .usable(DriverCapabilities(rawValue: 3)))
        #expect(try probe("exit 7\n").result == .unusable("no answer"))
    }

    @Test func `a worker is told where the device is when that is not the usual place`() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            "hyperlight-worker", "#!/bin/sh\necho \"usable=no reason=$*\"\n", mode: 0o700)
        let programs = ProgramFolder(path: folder.path)
        #expect(
            DriverProbe.run(.mshv, programs: programs) == .unusable("--probe mshv"))
        #expect(
            DriverProbe.run(.kvm, programs: programs, devicePath: "/dev/other")
                == .unusable("--probe kvm /dev/other"))
    }

    @Test func `a program that is not there is a reason`() throws {
        let folder = try TemporaryFolder()
        let programs = ProgramFolder(path: folder.path)
        guard case .unusable(let reason) = DriverProbe.run(.emulator, programs: programs) else {
            Issue.record("it is not there")
            return
        }
        #expect(reason.hasPrefix("hyperlight-worker-emulator: "))
    }

    @Test
    func `a worker that answers and does not end is killed and leaves no zombie`() throws {
        let answer = "echo usable=yes capabilities=1\n"
        let (result, folder) = try probe(
            "echo $$ > \"${0%/*}/pid\"\n" + answer + "exec /bin/sleep 60 >&- 2>&-\n")
        #expect(result == .usable(DriverCapabilities(rawValue: 1)))
        let text = try folder.read("pid").trimmingCharacters(in: .whitespacesAndNewlines)
        let processID = try #require(Int32(text))
        #expect(!FileManager.default.fileExists(atPath: "/proc/\(processID)"))
    }
}
