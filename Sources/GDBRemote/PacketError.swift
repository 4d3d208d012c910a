/// Why a packet body is no command that can be carried out.
package enum PacketError: Error, Hashable, Sendable {
    /// A missing separator, no digit where one must be, a wrong length, more than 64 bits.
    case malformed
    /// A thread or process id that is not one.
    case noSuchThread
}
