import GuestModel
import LinuxSystem
import WireProtocol

/// The worker's end of the socket to the supervisor.
struct SupervisorLink: ~Copyable {
    private let socket: OwnedDescriptor
    private var received = [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)
    /// Records that found the socket full since the last one that went through.
    private var lost = 0

    init(_ socket: consuming OwnedDescriptor) {
        self.socket = socket
    }

    var descriptor: Int32 { socket.rawValue }

    func claimSignals() throws(SystemCallError) {
        try KickSignal.claim(socket)
        try KickSignal.setEnabled(true, on: socket)
    }

    /// Sends a notice; one that does not fit is dropped and counted, never waited for.
    ///
    /// - Returns: whether it went.
    @discardableResult
    mutating func send(_ notice: WorkerNotice) -> Bool {
        if lost > 0 {
            let count = lost
            guard sendFrame(.log(.warning, "\(count) records were lost: the supervisor was busy"))
            else {
                lost += 1
                return false
            }
            lost = 0
        }
        guard sendFrame(notice) else {
            lost += 1
            return false
        }
        return true
    }

    private func sendFrame(_ notice: WorkerNotice) -> Bool {
        switch LinuxSystem.send(socket, notice.encoded()) {
        case .bytes: true
        case .full, .ended: false
        }
    }

    mutating func report(_ state: SandboxState, _ text: String) {
        send(.state(state, text))
    }

    /// The next order that is there.
    mutating func nextOrder() -> Incoming<WorkerOrder> {
        switch receive(socket, into: &received) {
        case .nothing: return .nothing
        case .ended: return .ended("the supervisor is gone")
        case .bytes(let count):
            do throws(WireError) {
                return .message(try WorkerOrder(frame: received, count: count))
            } catch {
                return .ended("bad order: \(error)")
            }
        }
    }

    /// Waits for the first order as long as the supervisor lives; nil when it is gone.
    mutating func waitForOrder() -> WorkerOrder? {
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
