import GuestModel
import LinuxSystem
import WireProtocol

/// The worker's end of the socket to the supervisor.
final class SupervisorLink {
    private let socket: MessageSocket
    /// Records that found the socket full since the last one that went through.
    private var lost = 0
    /// The answer that the supervisor waits for and that found the socket full.
    private var owedPong: UInt32?

    init(_ descriptor: consuming OwnedDescriptor) {
        socket = MessageSocket(descriptor, byteCountMax: WireLimits.controlFrameBytesMax)
    }

    var descriptor: Int32 { socket.rawValue }

    /// Who made this socket, as this process sees it: in a PID namespace of its own as process 0.
    func peer() throws(SystemCallError) -> PeerCredentials { try socket.peer() }

    func claimKick() throws(SystemCallError) {
        try socket.claimKick()
        try socket.setKickEnabled(true)
    }

    /// Sends a notice; one that does not fit is dropped and counted, never waited for.
    ///
    /// - Returns: whether it went.
    @discardableResult
    func send(_ notice: WorkerNotice) -> Bool {
        if let number = owedPong { answer(number) }
        if lost > 0, socket.send(lostRecords.encoded()) { lost = 0 }
        guard lost == 0, socket.send(notice.encoded()) else {
            lost += 1
            return false
        }
        return true
    }

    /// Answers a ping, at the latest before the next notice: however much is said, a sign of life is
    /// not crowded out.
    func answer(_ ping: UInt32) {
        owedPong = socket.send(WorkerNotice.pong(ping).encoded()) ? nil : ping
    }

    private var lostRecords: WorkerNotice {
        .log(.warning, "\(lost) records were lost: the supervisor was busy")
    }

    /// Tells the sandbox's state; false when it did not go.
    @discardableResult
    func report(_ state: SandboxState, _ text: String) -> Bool {
        send(.state(state, text))
    }

    /// The next order that is there.
    func nextOrder() -> Incoming<WorkerOrder> {
        switch socket.receive() {
        case .nothing: return .nothing
        case .ended: return .ended("the supervisor is gone")
        case .bytes(let count):
            do throws(WireError) {
                return .message(try WorkerOrder(frame: socket.message, count: count))
            } catch {
                return .ended("bad order: \(error)")
            }
        }
    }

    /// Waits for the first order as long as the supervisor lives; nil when it is gone.
    func waitForOrder() -> WorkerOrder? {
        var set = PollSet([socket.rawValue])
        while true {
            switch nextOrder() {
            case .message(let order): return order
            case .ended: return nil
            case .nothing: set.wait(milliseconds: -1)
            }
        }
    }
}

/// What came of looking for a frame.
enum Incoming<Message> {
    case message(Message)
    case nothing
    /// The connection is over; why, for the log.
    case ended(String)
}
