import Glibc
import GuestModel
import Jail
import LinuxSystem
import Testing
import WireProtocol

@testable import Supervisor

/// A real process in a stub's place; it does nothing.
final class StubDouble {
    let child: Child
    /// The other end of its control socket.
    private var peer: MessageSocket?

    init() throws {
        let null = try openNull()
        var control = try SocketPair()
        var output = try Pipe()
        guard let ours = control.first.take(), let theirs = control.second.take(),
            let reader = output.reader.take()
        else { preconditionFailure("a new pair has two ends") }
        let process = try ChildProcess.spawn(
            path: "/bin/sleep", arguments: ["sleep", "60"], environment: [],
            descriptors: [(null.rawValue, 0), (null.rawValue, 1), (null.rawValue, 2)])
        child = Child(
            process: process, born: 0, control: ours, output: reader, violations: nil,
            jail: ChildJail(
                role: .stub, plan: JailPlan(profile: .container), group: nil, missing: []))
        peer = MessageSocket(theirs, byteCountMax: 4096)
    }

    /// Sends a frame as the stub would; false when there is no room.
    func say(_ notice: StubNotice) -> Bool { say(notice.encoded()) }

    func say(_ bytes: [UInt8]) -> Bool { peer?.send(bytes) ?? false }

    func closePeer() { peer = nil }

    deinit {
        child.kill()
        while child.reap() == nil { sched_yield() }
    }
}
