import Glibc
import LinuxSystem

extension SeccompPolicy {
    /// What a stub does beside the common list: taking clients in, naming them, letting them go.
    static var stub: [CallRule] {
        [
            accept(on: ChildDescriptor.Stub.tcpListener),
            accept(on: ChildDescriptor.Stub.unixListener),
            CallRule("getpeername"),
            CallRule("shutdown"),
        ]
    }
}
