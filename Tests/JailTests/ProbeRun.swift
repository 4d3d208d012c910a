import Glibc
import LinuxSystem
import Testing

/// Runs of `jail-probe`, which stands beside the test bundle.
enum ProbeRun {
    /// What the probe exits with when it lived on after the call.
    static let survived = ProcessEnd.exited(50)
    /// Killed by the filter.
    static let killed = ProcessEnd.signal(SIGSYS)

    static let roles = ["worker", "emulator", "stub"]

    /// Starts the probe, waits for its end, and says how it ended.
    static func end(_ arguments: [String]) throws -> ProcessEnd? {
        let probe = try Probe(arguments)
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

/// A probe that lives: descriptor 3 is our `control`, 4 and 5 are `/dev/null`.
///
/// Make it and wait for it on one thread without a suspension: it dies with the thread.
struct Probe: ~Copyable {
    let process: ChildProcess
    let control: OwnedDescriptor

    init(_ arguments: [String]) throws {
        let null = try openNull()
        var pair = try SocketPair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else {
            throw SystemCallError("socketpair", code: EBADF)
        }
        let numbers: [Int32] = [0, 1, 2, 4, 5]
        process = try ChildProcess.spawn(
            path: ProbeRun.path, arguments: ["jail-probe"] + arguments,
            environment: ["SWIFT_BACKTRACE=enable=no"],
            descriptors: numbers.map { (null.rawValue, $0) } + [(theirs.rawValue, 3)])
        control = ours
        theirs.close()
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
}
