import LinuxSystem

/// The connection of the one client, with what it has not taken yet.
final class ClientConnection {
    let descriptor: OwnedDescriptor
    /// Its address, for people.
    let peer: String
    /// Whether the supervisor was told of its session.
    var isReported = false
    private var pending: ArraySlice<UInt8> = []
    /// When a client that takes nothing is given up; nil while nothing is pending.
    private(set) var sendDeadline: UInt64?

    /// More than this is not kept for a client that does not read.
    private static let pendingBytesMax = 1 << 20
    private static let sendTime: UInt64 = 5_000_000_000

    init(_ descriptor: consuming OwnedDescriptor, peer: String) {
        self.descriptor = descriptor
        self.peer = peer
    }

    var hasPending: Bool { !pending.isEmpty }

    /// Sends what the client takes now and keeps the rest; false when it is lost.
    func send(_ bytes: [UInt8], now: UInt64) -> Bool {
        guard pending.isEmpty else {
            guard pending.count + bytes.count <= Self.pendingBytesMax else { return false }
            pending.append(contentsOf: bytes)
            return true
        }
        pending = bytes[...]
        return sendPending(now: now)
    }

    /// Goes on sending; false when the client is lost.
    func sendPending(now: UInt64) -> Bool {
        while !pending.isEmpty {
            switch LinuxSystem.send(descriptor, pending) {
            case .bytes(let count):
                pending = pending.dropFirst(count)
                sendDeadline = nil
            case .full:
                sendDeadline = sendDeadline ?? now + Self.sendTime
                return true
            case .ended: return false
            }
        }
        pending = []
        sendDeadline = nil
        return true
    }
}
