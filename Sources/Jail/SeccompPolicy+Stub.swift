import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// What a stub does beside the common list: taking clients in.
    static var stub: [AllowedCall] {
        [
            accept(on: ChildDescriptor.Stub.tcpListener),
            accept(on: ChildDescriptor.Stub.unixListener),
            AllowedCall("getpeername"),
            AllowedCall("getsockname"),
            AllowedCall("shutdown"),
            AllowedCall("getsockopt", .int(1, SOL_SOCKET), .int(2, SO_PEERCRED)),
            AllowedCall("getsockopt", .int(1, SOL_SOCKET), .int(2, SO_ERROR)),
        ]
    }
}
