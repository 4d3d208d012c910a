import CLinux
import Glibc

/// What came of trying to receive.
package enum Received: Hashable, Sendable {
    /// This many bytes are in the buffer.
    case bytes(Int)
    /// Nothing is there now.
    case nothing
    /// The other side is gone; nothing will come any more.
    case ended
}

/// What came of trying to send.
package enum Sent: Hashable, Sendable {
    /// This many bytes went; fewer than asked only on a stream.
    case bytes(Int)
    /// The other side does not take any now.
    case full
    /// The other side is gone.
    case ended
}

/// Receives into `buffer` without waiting.
///
/// On a SOCK_SEQPACKET socket one call takes one message; a message longer than the buffer is cut by
/// the system, so give a buffer one byte larger than the largest legal message and refuse a full one.
package func receive(
    _ descriptor: borrowing OwnedDescriptor, into buffer: inout [UInt8]
) -> Received {
    while true {
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe recv(descriptor.rawValue, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT))
        }
        if count > 0 { return .bytes(count) }
        if count == 0 { return .ended }
        switch errno {
        // A peer that ended without reading everything: said once, before what it had sent itself.
        case EINTR, ECONNRESET: continue
        case EAGAIN: return .nothing
        default: return .ended
        }
    }
}

/// Sends `bytes` without waiting and without SIGPIPE.
package func send(_ descriptor: borrowing OwnedDescriptor, _ bytes: ArraySlice<UInt8>) -> Sent {
    while true {
        let count = unsafe bytes.withUnsafeBytes { bytes in
            unsafe Glibc.send(
                descriptor.rawValue, bytes.baseAddress, bytes.count,
                Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        }
        if count >= 0 { return .bytes(count) }
        switch errno {
        case EINTR: continue
        case EAGAIN, ENOBUFS: return .full
        default: return .ended
        }
    }
}

/// Sends `bytes` without waiting and without SIGPIPE.
package func send(_ descriptor: borrowing OwnedDescriptor, _ bytes: [UInt8]) -> Sent {
    send(descriptor, bytes[...])
}

/// Sends a descriptor over a Unix socket; this process keeps its own.
package func sendDescriptor(
    _ descriptor: borrowing OwnedDescriptor, over socket: borrowing OwnedDescriptor
) throws(SystemCallError) {
    try checked(clinux_send_descriptor(socket.rawValue, descriptor.rawValue), "sendmsg")
}
