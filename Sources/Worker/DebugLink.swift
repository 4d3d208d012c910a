import LinuxSystem
import WireProtocol

/// The worker's side of the debug door: a listener, and at most one connection to a stub.
struct DebugLink: ~Copyable {
    private let listener: OwnedDescriptor
    private var connection: OwnedDescriptor?
    /// The only process whose connections are taken: the supervisor connects on a stub's behalf.
    private let supervisor: Int32
    private var received = [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)
    private var frame: [UInt8] = []

    init(listener: consuming OwnedDescriptor, supervisor: Int32) throws(SystemCallError) {
        try KickSignal.claim(listener)
        try KickSignal.setEnabled(true, on: listener)
        self.listener = listener
        self.supervisor = supervisor
    }

    var listenerDescriptor: Int32 { listener.rawValue }

    /// -1 while no stub is connected.
    var connectionDescriptor: Int32 {
        if case .some(let connection) = connection { connection.rawValue } else { -1 }
    }

    /// Takes a new connection if one waits; the one that was there is closed.
    ///
    /// - Returns: whether there is a new one.
    mutating func acceptStub() -> Bool {
        // A failed accept leaves things as they are; the stub's side sees it as a lost connection.
        guard let next = try? acceptConnection(listener),
            let peer = try? peerCredentials(next), peer.processID == supervisor,
            (try? KickSignal.claim(next)) != nil
        else { return false }
        connection = next
        return true
    }

    mutating func close() {
        connection = nil
    }

    /// Whether a request raises the kick signal; on only while the guest runs freely.
    func setKickEnabled(_ isEnabled: Bool) {
        guard case .some(let connection) = connection else { return }
        // Fails only for a descriptor that is not open, and this one is.
        try? KickSignal.setEnabled(isEnabled, on: connection)
    }

    mutating func nextRequest() -> Incoming<DebugRequest> {
        guard case .some(let connection) = connection else { return .nothing }
        switch receive(connection, into: &received) {
        case .nothing: return .nothing
        case .ended: return .ended("the stub is gone")
        case .bytes(let count):
            do throws(WireError) {
                return .message(try DebugRequest(frame: received, count: count))
            } catch {
                return .ended("bad request: \(error)")
            }
        }
    }

    /// Sends a reply; false when the connection is of no use any more.
    mutating func send(_ reply: DebugReply) -> Bool {
        guard case .some(let connection) = connection else { return false }
        reply.encode(into: &frame)
        switch LinuxSystem.send(connection, frame) {
        case .bytes: return true
        // One request is outstanding at a time, so a full socket means a stub that does not read.
        case .full, .ended: return false
        }
    }
}
