import LinuxSystem
import WireProtocol

/// The worker's side of the debug door: a listener, and at most one connection to a stub.
final class DebugLink {
    private let listener: OwnedDescriptor
    private var connection: MessageSocket?
    private var isKickEnabled = false
    /// The only process whose connections are taken: the supervisor connects on a stub's behalf.
    private let supervisor: PeerCredentials
    private var frame: [UInt8] = []

    init(
        listener: consuming OwnedDescriptor, supervisor: PeerCredentials
    ) throws(SystemCallError) {
        self.listener = listener
        self.supervisor = supervisor
        try KickSignal.claim(self.listener)
        try KickSignal.setEnabled(true, on: self.listener)
    }

    var listenerDescriptor: Int32 { listener.rawValue }

    /// -1 while no stub is connected.
    var connectionDescriptor: Int32 { connection?.rawValue ?? -1 }

    /// Takes a new connection if one waits; the one that was there is closed.
    ///
    /// - Returns: whether there is a new one.
    func acceptStub() -> Bool {
        // A failed accept leaves things as they are; the stub's side sees it as a lost connection.
        guard let next = try? acceptConnection(listener),
            let peer = try? peerCredentials(next), peer == supervisor
        else { return false }
        let socket = MessageSocket(next, byteCountMax: WireLimits.frameBytesMax)
        guard (try? socket.claimKick()) != nil else { return false }
        connection = socket
        // A stub may come while the guest runs: its requests must be heard then too.
        setKickEnabled(isKickEnabled)
        return true
    }

    func close() {
        connection = nil
    }

    /// Whether a request raises the kick signal, now and on connections to come; on only while the
    /// guest runs freely.
    func setKickEnabled(_ isEnabled: Bool) {
        isKickEnabled = isEnabled
        // Fails only for a descriptor that is not open, and this one is.
        try? connection?.setKickEnabled(isEnabled)
    }

    func nextRequest() -> Incoming<DebugRequest> {
        guard let connection else { return .nothing }
        switch connection.receive() {
        case .nothing: return .nothing
        case .ended: return .ended("the stub is gone")
        case .bytes(let count):
            do throws(WireError) {
                return .message(try DebugRequest(frame: connection.message, count: count))
            } catch {
                return .ended("bad request: \(error)")
            }
        }
    }

    /// Sends a reply; false when the connection is of no use any more.
    ///
    /// One request is outstanding at a time, with a few ahead of it: a full socket means a stub that does
    /// not read.
    func send(_ reply: DebugReply) -> Bool {
        guard let connection else { return false }
        reply.encode(into: &frame)
        return connection.send(frame)
    }
}
