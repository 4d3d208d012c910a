import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// What a stub does beside the common list: taking clients in, and setting up their sockets.
    static var stub: [AllowedCall] {
        [
            accept(on: ChildDescriptor.Stub.tcpListener),
            accept(on: ChildDescriptor.Stub.unixListener),
            AllowedCall("getpeername"),
            AllowedCall("getsockname"),
            AllowedCall("shutdown"),
            AllowedCall("getsockopt", .int(1, SOL_SOCKET), .int(2, SO_PEERCRED)),
            AllowedCall("getsockopt", .int(1, SOL_SOCKET), .int(2, SO_ERROR)),
            AllowedCall("setsockopt", .int(1, SOL_SOCKET), .int(2, SO_KEEPALIVE)),
        ] + clientOptions.map { AllowedCall("setsockopt", .int(1, tcp), .int(2, $0)) }
    }

    private static let tcp = Int32(IPPROTO_TCP)

    /// The options that `setClientOptions` sets.
    private static let clientOptions = [
        TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT,
    ]
}
