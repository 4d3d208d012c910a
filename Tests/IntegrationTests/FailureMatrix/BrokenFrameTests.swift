import ControlAPI
import Foundation
import GuestModel
import Testing

extension IntegrationTests {
    /// Messages to the supervisor that are none, or too many (F15 of the failure matrix).
    @Suite(.serialized)
    struct BrokenFrames {
        private let programs: ProgramCopies
        private let image: GuestImage

        init() throws {
            programs = try ProgramCopies()
            image = try GuestImage.named("counter")
        }

        /// A frame with this type and payload, as `docs/wire-protocol.md` describes it.
        private static func frame(_ type: UInt16, _ payload: [UInt8]) -> [UInt8] {
            let count = UInt32(payload.count)
            let header = [UInt8(type & 255), UInt8(type >> 8), 0, 0]
            return header + (0..<4).map { UInt8(count >> (8 * $0) & 255) } + payload
        }

        /// A line of output of the guest, for a worker.
        private static let output = frame(303, [1, 0, 0, 0, UInt8(ascii: "x")])

        /// Each is the first message of a child whose sandbox has this name.
        private static func broken(_ seed: UInt64) -> [(name: String, frame: [UInt8])] {
            var noise = SeededNoise(state: seed)
            return [
                ("truncated", Array(output.prefix(5))), ("half", Array(output.dropLast())),
                ("trailing", output + [0]), ("unknown", frame(999, [])),
                ("length", [47, 1, 0, 0, 255, 255, 255, 255]),
                ("empty-text", frame(303, [255, 255, 255, 255])),
                ("large", frame(303, [UInt8](repeating: 1, count: 20_000))),
                ("huge", [UInt8](repeating: 255, count: 150_000)),
                ("noise", (0..<200).map { _ in noise.next() }),
                ("long-noise", (0..<16_000).map { _ in noise.next() }),
            ]
        }

        /// What a script does that sends the message of its sandbox's file, if there is one.
        private var sendsItsFile: String {
            """
            if [ -f '\(programs.folder)'/"$1" ]; then
                dd if='\(programs.folder)'/"$1" bs=200000 count=1 2>/dev/null >&3
                exec sleep 60
            fi
            """
        }

        private func write(_ broken: [(name: String, frame: [UInt8])]) throws {
            for (name, frame) in broken {
                try Data(frame).write(to: URL(fileURLWithPath: programs.folder + "/" + name))
            }
        }

        @Test
        func `F15: a malformed message of a worker costs that worker and nobody else`() throws {
            let seed = UInt64.random(in: 1 ... .max)
            let broken = Self.broken(seed)
            try write(broken)
            try programs.replaceWorker(
                by: sendsItsFile
                    + "\nexec '\(Machine.program("hyperlight-worker-emulator"))' \"$@\"")
            let good = SandboxEntry("good", "counter", startup: "run")
            let entries = broken.map { SandboxEntry($0.name, "counter") } + [good]
            try RunningSupervisor.with(entries, programs: programs.folder) { supervisor in
                try supervisor.waitForEvent("good", "sandbox.state", containing: "-> running")
                let worker = try supervisor.status("good").workerPID
                for (name, _) in broken {
                    let record = try supervisor.waitForEvent(name, "worker.protocol")
                    #expect(record.msg.contains("the worker is killed"), "\(record.msg)")
                }
                print(
                    "F15: seed", seed, "-", broken.count, "workers killed for their first message")
                try supervisor.expectTicking("good", image)
                let status = try supervisor.status("good")
                #expect(status.workerPID == worker && status.restarts == 0)
            }
        }

        @Test
        func `F15: a malformed message of a stub costs that stub, its guest goes on`() throws {
            let seed = UInt64.random(in: 1 ... .max)
            let broken = Self.broken(seed)
            try write(broken)
            try programs.replaceStub(
                by: sendsItsFile + "\nexec '\(Machine.program("hyperlight-gdbstub"))' \"$@\"")
            let names = broken.map(\.name) + ["good"]
            let entries = names.map { SandboxEntry($0, "counter", startup: "run") }
            try RunningSupervisor.with(entries, programs: programs.folder) { supervisor in
                for name in names {
                    try supervisor.waitForEvent(name, "sandbox.state", containing: "-> running")
                }
                for (name, _) in broken { try supervisor.waitForEvent(name, "stub.protocol") }
                print("F15: seed", seed, "-", broken.count, "stubs killed for their first message")
                // No guest changed its state, and no worker was started a second time.
                for name in names {
                    let count = supervisor.log.count {
                        $0.isAbout(name, "sandbox.state", containing: "")
                    }
                    #expect(count == 1, "\(name)")
                }
                try supervisor.expectTicking("good", image)
            }
        }

        @Test
        func `F15: workers that flood the supervisor with messages get a share of its time`() throws
        {
            let octal = Self.output.map { "\\" + String($0, radix: 8) }.joined()
            try programs.replaceWorker(
                by: """
                    case $1 in
                    flood*) while :; do printf '\(octal)' >&3 2>/dev/null; done ;;
                    esac
                    exec '\(Machine.program("hyperlight-worker-emulator"))' "$@"
                    """)
            let entries = ["flood-1", "flood-2"].map { SandboxEntry($0, "counter") }
            let good = SandboxEntry("good", "counter", startup: "run")
            try RunningSupervisor.with(entries + [good], programs: programs.folder) { supervisor in
                try supervisor.waitForEvent("good", "sandbox.state", containing: "-> running")
                for entry in entries { try supervisor.waitForEvent(entry.name, "guest.output") }
                let id = supervisor.program.processID
                let resident = residentKiB(id)
                let used = processorSeconds(id)
                let start = ContinuousClock.now
                var answers: [Double] = []
                while ContinuousClock.now - start < .seconds(2) {
                    let asked = ContinuousClock.now
                    _ = try supervisor.status("good")
                    answers.append((ContinuousClock.now - asked) / .milliseconds(1))
                }
                let share =
                    (processorSeconds(id) - used) / ((ContinuousClock.now - start) / .seconds(1))
                let grown = residentKiB(id) - resident
                print(
                    "F15: under two floods: supervisor's share of a processor",
                    [share].text, "; memory grew by", grown, "KiB; status p50",
                    [answers.median].text, "ms, max", [answers.max() ?? 0].text, "ms")
                #expect(share < 0.8)
                #expect(grown < (16 << 10) * Machine.appetite)
                #expect(answers.median < 500 * Machine.slowness)
            }
        }
    }
}
