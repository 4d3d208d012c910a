import Glibc
import GuestModel
import Jail
import LinuxListening
import LinuxSystem
import Testing

/// Runs of `jail-probe`, which stands beside the test bundle.
enum ProbeRun {
    /// What the probe exits with when it lived on after the call.
    static let survived = ProcessEnd.exited(50)
    /// Killed by the filter.
    static let killed = ProcessEnd.signal(SIGSYS)

    static let roles = ProbeRole.allCases.map(\.rawValue)

    /// Starts the probe, waits for its end, and says how it ended.
    static func end(_ arguments: [String], environment: [String] = []) throws -> ProcessEnd? {
        let probe = try Probe(arguments, environment: environment)
        return probe.waitForEnd()
    }

    static let path: String = {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = max(0, readlink("/proc/self/exe", &buffer, buffer.count))
        let bytes = buffer.prefix(count).map { UInt8(bitPattern: $0) }
        let folder = String(decoding: bytes, as: UTF8.self).split(separator: "/").dropLast()
        return "/" + folder.joined(separator: "/") + "/jail-probe"
    }()
}

/// A probe that lives: descriptor 3 is our `control`, 4 and 5 are `/dev/null`, 9 is our `violations`.
///
/// Make it and wait for it on one thread without a suspension: it dies with the thread.
struct Probe: ~Copyable {
    let process: ChildProcess
    let control: OwnedDescriptor
    private let violations: OwnedDescriptor

    init(
        _ arguments: [String], namespaces: NamespaceSet = [], environment: [String] = []
    ) throws {
        let null = try openNull()
        var controlPair = try SocketPair()
        var violationsPair = try SocketPair()
        guard let control = controlPair.first.take(), let theirs = controlPair.second.take(),
            let violations = violationsPair.first.take(),
            let theirEnd = violationsPair.second.take()
        else { throw SystemCallError("socketpair", code: EBADF) }
        let numbers: [Int32] = [0, 1, 2, 4, 5]
        process = try ChildProcess.spawn(
            path: ProbeRun.path, arguments: ["jail-probe"] + arguments,
            environment: ["SWIFT_BACKTRACE=enable=no"] + environment,
            descriptors: numbers.map { (null.rawValue, $0) } + [
                (theirs.rawValue, ChildDescriptor.control),
                (theirEnd.rawValue, ChildDescriptor.violations),
            ], namespaces: namespaces)
        self.control = control
        self.violations = violations
        theirs.close()
        theirEnd.close()
    }

    /// Waits for the byte that says that the probe is confined.
    func waitUntilConfined() -> Bool {
        guard waitForInput(control, milliseconds: 10_000) else { return false }
        var buffer: [UInt8] = [0, 0]
        return receive(control, into: &buffer) == .bytes(1)
    }

    func waitForEnd() -> ProcessEnd? {
        guard waitForInput(process.pidfd, milliseconds: 10_000) else { return nil }
        return process.reap()
    }

    /// What a probe with a reporting filter did: a call for which it waits, or its end.
    enum Outcome: Equatable {
        case waits(Int32)
        case ended(ProcessEnd)
        case nothing
    }

    /// Plays the supervisor of a reporting filter; the probe is gone afterwards.
    func reportedOutcome() throws -> Outcome {
        guard waitForInput(violations, milliseconds: 10_000) else { return .nothing }
        let listener = SeccompListener(try receiveDescriptor(violations))
        var set = PollSet([listener.rawValue, process.pidfd.rawValue])
        guard set.wait(milliseconds: 10_000) > 0 else { return .nothing }
        // A dead probe's listener is readable too, and gives nothing.
        let call = set.isReadable(1) ? nil : listener.next()
        guard let call else { return waitForEnd().map { .ended($0) } ?? .nothing }
        process.signal(SIGKILL)
        _ = waitForEnd()
        return .waits(call.number)
    }
}
