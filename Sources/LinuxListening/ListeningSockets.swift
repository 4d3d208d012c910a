// LinuxListening: sockets that wait for others, and taking descriptors in, for the supervisor alone.
//
// Workers and stubs inherit theirs. That this is a target of its own keeps listen(2) and recvmsg(2)
// out of their programs, which `tools/check` verifies.

import CListening
package import LinuxSystem

/// A listening TCP socket on a numeric address; port 0 lets the system choose.
///
/// Its connections have no delay, keepalive after 30 s (3 probes, 10 s apart) and a user timeout of
/// 30 s.
package func listenTCP(
    address: String, port: UInt16, backlog: Int32
) throws(SystemCallError) -> OwnedDescriptor {
    OwnedDescriptor(try checked(unsafe clistening_tcp(address, port, backlog), "bind"))
}

/// A listening Unix socket at `path`, which must not exist.
package func listenUnix(
    path: String, kind: SocketKind, backlog: Int32
) throws(SystemCallError) -> OwnedDescriptor {
    OwnedDescriptor(try checked(unsafe clistening_unix(path, kind.rawValue, backlog), "bind"))
}

/// Takes a descriptor out of the message that waits on a Unix socket.
/// - Throws: `EAGAIN` when nothing is there, `EPROTO` when the message brings no descriptor.
package func receiveDescriptor(
    _ socket: borrowing OwnedDescriptor
) throws(SystemCallError) -> OwnedDescriptor {
    OwnedDescriptor(try checked(clistening_receive_descriptor(socket.rawValue), "recvmsg"))
}
