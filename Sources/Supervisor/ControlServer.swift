import ControlAPI
import Glibc
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle

/// HTTP and JSON on the control socket.
///
/// Runs on threads of its own and knows nothing of sandboxes: every request becomes one question to
/// the `SupervisorCore`. So neither a slow client nor a flood of them can delay supervision.
/// Routes and answers are in `ControlServerRoutes.swift`.
package final class ControlServer: Sendable {
    /// Largest sum of header bytes; a local client needs a few hundred.
    private static let headerByteCountMax = 8 << 10
    private static let headerCountMax = 64
    /// A connection without traffic for this long is closed.
    private static let idleTimeout = TimeAmount.seconds(10)
    /// Clients that still wait after this long are cut off.
    private static let stopTimeout = Duration.seconds(2)

    private let group: ServiceGroup

    /// Prepares a server; nothing is opened before `run`.
    ///
    /// - Parameters:
    ///   - socketPath: At most 107 bytes, in a folder that exists. A socket file left behind there
    ///     is removed; the new one gets mode 0660.
    ///   - core: Answers the questions.
    ///   - logger: Warnings and errors only.
    ///   - onReady: Called once the socket listens.
    package init(
        socketPath: String, core: some SupervisorCore, logger: Logger,
        onReady: @escaping @Sendable () -> Void = {}
    ) {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
            maxHeaderFieldSize: Self.headerByteCountMax,
            maxHeaderListSize: Self.headerByteCountMax, maxHeaderFieldCount: Self.headerCountMax)
        let application = Application(
            router: ControlServerRoutes.router(core: core),
            server: .http1(
                configuration: HTTP1Channel.Configuration(
                    idleTimeout: Self.idleTimeout, httpDecoderConfiguration: decoder)),
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: socketPath),
                availableConnectionsDelegate: MaximumAvailableConnections(
                    ControlLimits.connectionCountMax)),
            onServerRunning: { _ in
                // Until here the umask holds; connecting needs the right to write.
                if chmod(socketPath, 0o660) != 0 {
                    logger.error("control socket: chmod failed", metadata: ["errno": "\(errno)"])
                }
                onReady()
            }, logger: quiet)
        var configuration = ServiceGroupConfiguration(services: [application], logger: quiet)
        configuration.maximumGracefulShutdownDuration = Self.stopTimeout
        group = ServiceGroup(configuration: configuration)
    }

    /// Serves until `stop`; throws when the socket cannot be made.
    package func run() async throws {
        try await group.run()
    }

    /// Takes no further connections and lets the answers under way finish.
    package func stop() async {
        await group.triggerGracefulShutdown()
    }
}

/// Starts the control server from a thread that does not know `await`.
///
/// - Parameters:
///   - socketPath: As for `ControlServer`.
///   - core: Answers the questions.
///   - logger: Warnings and errors only.
///   - onReady: Called once, on another thread, when the socket listens.
///   - onEnd: Called once, on another thread: with nil after `stop`, else with what went wrong.
/// - Returns: The server, to be stopped with `stopControlServer`.
package func startControlServer(
    socketPath: String, core: some SupervisorCore, logger: Logger,
    onReady: @escaping @Sendable () -> Void, onEnd: @escaping @Sendable (String?) -> Void
) -> ControlServer {
    let server = ControlServer(
        socketPath: socketPath, core: core, logger: logger, onReady: onReady)
    Task.detached {
        do {
            try await server.run()
            onEnd(nil)
        } catch {
            onEnd("control socket \(socketPath): \(error)")
        }
    }
    return server
}

/// Asks a server to stop and returns at once; its `onEnd` tells when that has happened.
package func stopControlServer(_ server: ControlServer) {
    Task.detached { await server.stop() }
}
