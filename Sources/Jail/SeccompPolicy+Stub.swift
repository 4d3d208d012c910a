import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// What a stub does beside the common list: taking clients in, naming them, letting them go, and
    /// reading the one file for them.
    static var stub: [CallRule] {
        [
            accept(on: ChildDescriptor.Stub.tcpListener),
            accept(on: ChildDescriptor.Stub.unixListener),
            CallRule("getpeername"),
            // Its own end of the worker's socket; elsewhere only the half that means nothing to a
            // listener, which others share.
            CallRule("shutdown", .int(0, ChildDescriptor.Stub.worker)),
            CallRule("shutdown", .int(1, Int32(SHUT_WR))),
            // Without a symbol file a client may have this number; a socket has no places to read at.
            CallRule("pread64", .int(0, ChildDescriptor.Stub.symbols)),
        ]
    }
}
