import GuestModel
import LinuxSystem

/// Runs a worker program once to learn what its driver can do here.
enum DriverProbe {
    /// A probe takes about 10 ms; one that hangs must not hold up the supervisor for ever.
    private static let deadlineMilliseconds: UInt64 = 5000

    /// `devicePath` is nil where the driver's device has its usual place.
    static func run(
        _ name: DriverName, programs: ProgramFolder, devicePath: String? = nil
    ) -> ProbeResult {
        let program = ChosenDriver(name: name, capabilities: [], reason: "").program
        var arguments = [program, "--probe", name.rawValue]
        if let devicePath { arguments.append(devicePath) }
        do throws(SystemCallError) {
            return try run(arguments, ChildLauncher.environment(of: name), programs)
        } catch {
            return .unusable("\(program): \(error)")
        }
    }

    private static func run(
        _ arguments: [String], _ environment: [String], _ programs: ProgramFolder
    ) throws(SystemCallError) -> ProbeResult {
        let null = try openNull()
        var output = try Pipe()
        guard let reader = output.reader.take(), let writer = output.writer.take() else {
            preconditionFailure("a new pipe has two ends")
        }
        let child = try ChildProcess.spawn(
            path: programs.path(of: arguments[0]), arguments: arguments, environment: environment,
            descriptors: [(null.rawValue, 0), (writer.rawValue, 1), (writer.rawValue, 2)])
        writer.close()
        let lines = LineReader(reader)
        let deadline = monotonicNanoseconds() + deadlineMilliseconds * 1_000_000
        var answer = "no answer"
        while lines.rawValue >= 0 {
            let now = monotonicNanoseconds()
            guard now < deadline else {
                child.signal(9)
                break
            }
            var set = PollSet([lines.rawValue])
            if set.wait(milliseconds: Int32((deadline - now) / 1_000_000) + 1) > 0 {
                answer = lines.lines().last ?? answer
            }
        }
        reapSoon(child)
        return parse(answer)
    }

    /// The writer's end is gone, so the child is ending; one that stays is killed, and no zombie.
    private static func reapSoon(_ child: borrowing ChildProcess) {
        for _ in 0..<2 {
            _ = waitForInput(child.pidfd, milliseconds: 1000)
            if child.reap() != nil { return }
            child.signal(9)
        }
    }

    /// Reads `driver=kvm usable=yes capabilities=12`.
    ///
    /// A reason is the last there is: whatever a path in it looks like, nothing behind it is an answer.
    static func parse(_ line: String) -> ProbeResult {
        if let reason = line.range(of: "reason=") {
            return .unusable(String(line[reason.upperBound...]))
        }
        let words = line.split(separator: " ")
        guard words.contains("usable=yes"),
            let word = words.first(where: { $0.hasPrefix("capabilities=") }),
            let value = UInt32(word.dropFirst("capabilities=".count))
        else { return .unusable(line) }
        return .usable(DriverCapabilities(rawValue: value))
    }
}

extension String {
    /// The first place of `text`; a small stand-in for Foundation's.
    fileprivate func range(of text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) {
                return start..<index(start, offsetBy: text.count)
            }
            start = index(after: start)
        }
        return nil
    }
}
