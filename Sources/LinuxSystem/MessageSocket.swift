/// One end of a SOCK_SEQPACKET connection with room for one message.
///
/// A class, because a connection has one identity and comes and goes while its user lives.
package final class MessageSocket {
    private let descriptor: OwnedDescriptor
    /// The message that `receive` took, in the first bytes; larger than any legal message by one.
    package private(set) var message: [UInt8]

    /// Takes the socket over; `byteCountMax` is the size of the largest legal message.
    package init(_ descriptor: consuming OwnedDescriptor, byteCountMax: Int) {
        self.descriptor = descriptor
        message = [UInt8](repeating: 0, count: byteCountMax + 1)
    }

    package var rawValue: Int32 { descriptor.rawValue }

    /// Takes the next message, if one is there, into `message`.
    package func receive() -> Received {
        LinuxSystem.receive(descriptor, into: &message)
    }

    /// Sends one message without waiting; false when the other side is gone or does not read.
    package func send(_ bytes: [UInt8]) -> Bool {
        switch LinuxSystem.send(descriptor, bytes) {
        case .bytes: true
        case .full, .ended: false
        }
    }

    /// Who is at the other end.
    package func peer() throws(SystemCallError) -> PeerCredentials {
        try peerCredentials(descriptor)
    }

    /// Makes this process the one that gets the socket's kick signal.
    package func claimKick() throws(SystemCallError) {
        try KickSignal.claim(descriptor)
    }

    /// Whether input raises the kick signal.
    package func setKickEnabled(_ isEnabled: Bool) throws(SystemCallError) {
        try KickSignal.setEnabled(isEnabled, on: descriptor)
    }
}
