import ControlAPI
import Glibc
import HummingbirdCore
import LinuxSystem
import Logging
import NIOCore
import NIOConcurrencyHelpers

/// How many connections each user has to the control socket; pure.
struct ControlPlaces {
    private var taken: [UInt32: Int] = [:]
    private var total = 0
    private var refused = 0
    private var nextReport: UInt64 = 0

    /// Whether this user may have one more connection.
    mutating func enter(_ userID: UInt32) -> Bool {
        let count = taken[userID, default: 0]
        guard total < ControlLimits.connectionCountMax,
            count < ControlLimits.connectionsPerUserMax
        else { return false }
        taken[userID] = count + 1
        total += 1
        return true
    }

    /// A connection that was let in is gone.
    mutating func leave(_ userID: UInt32) {
        guard let count = taken[userID] else { return }
        taken[userID] = count > 1 ? count - 1 : nil
        total -= 1
    }

    /// Counts a refusal; how many there were since the last report, once a second at most.
    mutating func refusalsToReport(at now: UInt64) -> Int? {
        refused += 1
        guard now >= nextReport else { return nil }
        nextReport = now + 1_000_000_000
        defer { refused = 0 }
        return refused
    }
}

/// Lets connections in as far as there are places, and closes the others at once.
///
/// A connection is counted from its first moment to its last, whatever it sends.
final class ControlGate: ServerChildChannel {
    private let http: HTTP1Channel
    private let log: Logger
    private let places = NIOLockedValueBox(ControlPlaces())

    init(_ http: HTTP1Channel, log: Logger) {
        self.http = http
        self.log = log
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        http.setup(channel: channel, logger: logger)
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        let userID = await peerUserID(value.channel)
        guard let userID, places.withLockedValue({ $0.enter(userID) }) else {
            return await refuse(value, userID)
        }
        defer { places.withLockedValue { $0.leave(userID) } }
        await http.handle(value: value, logger: logger)
    }

    private func refuse(_ value: HTTP1Channel.Value, _ userID: UInt32?) async {
        let count = places.withLockedValue { $0.refusalsToReport(at: monotonicNanoseconds()) }
        if let count {
            log.warning(
                "control.refused", sandbox: nil,
                "\(count) connections, the last of uid \(userID.map(String.init) ?? "?"): "
                    + "too many at once")
        }
        // A channel of this kind insists on being opened before it is closed.
        try? await value.executeThenClose { _, _ in }
    }
}

/// The user at the other end of a control connection; nil when it is gone already.
func peerUserID(_ channel: any Channel) async -> UInt32? {
    /// `struct ucred` of the kernel, which Swift's Glibc does not show.
    struct Credentials: Sendable {
        var processID: pid_t = 0
        var userID: uid_t = 0
        var groupID: gid_t = 0
    }
    guard let socket = channel as? any SocketOptionProvider else { return nil }
    let found: EventLoopFuture<Credentials> = socket.unsafeGetSocketOption(
        level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
    return try? await found.get().userID
}
