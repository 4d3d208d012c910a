import GDBRemote
import Glibc
import LinuxSystem

/// A second client: it is told in its own language why it must go.
///
/// Its first packet is awaited, because gdb shows the words only as an answer to it.
final class TurnedAwayClient {
    let descriptor: OwnedDescriptor
    /// When it came.
    let start: UInt64
    private let attachedPeer: String
    private var decoder = PacketDecoder()
    private var isAnswered = false

    init(_ descriptor: consuming OwnedDescriptor, attachedPeer: String, now: UInt64) {
        self.descriptor = descriptor
        self.attachedPeer = attachedPeer
        start = now
    }

    /// Takes what came; false when the connection can be closed.
    func receive(buffer: inout [UInt8]) -> Bool {
        switch LinuxSystem.receive(descriptor, into: &buffer) {
        case .nothing: return true
        case .ended: return false
        case .bytes(let count): return take(buffer.span.extracting(first: count))
        }
    }

    private func take(_ bytes: Span<UInt8>) -> Bool {
        var index = 0
        while !isAnswered, let event = decoder.receive(bytes, from: &index) {
            switch event {
            case .notADebugger, .garbage: return false
            case .packet: refuse()
            case .interrupt, .acknowledged, .resendRequested, .badChecksum, .oversized: break
            }
        }
        return true
    }

    private func refuse() {
        var encoder = PacketEncoder()
        encoder.acknowledge()
        encoder.refusal("another debugger is attached (\(attachedPeer))")
        // A client that does not even take this is closed all the same.
        _ = LinuxSystem.send(descriptor, encoder.bytes)
        // Closing while the client still sends would make the system throw our answer away.
        _ = shutdown(descriptor.rawValue, Int32(SHUT_WR))
        isAnswered = true
    }
}
