import ControlAPI
import Glibc
import Hummingbird
import HummingbirdCore
package import Logging
package import NIOCore
import NIOPosix
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
    /// A connection that begins no request for this long is closed.
    package static let idleTimeout = TimeAmount.seconds(10)
    /// Beyond this no connection is even accepted; those above what is served are there only to be
    /// closed.
    private static let acceptedCountMax = 2 * ControlLimits.connectionCountMax
    /// Clients that still wait after this long are cut off.
    private static let stopTimeout = Duration.seconds(2)

    private let socketPath: String
    private let group: ServiceGroup
    /// One thread is enough for local clients, and its descriptors are had here and now: the
    /// library ends the process when it cannot have them later.
    private let threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    /// Prepares a server; nothing listens before `run`.
    ///
    /// - Parameters:
    ///   - socketPath: At most 107 bytes, in a folder that exists. A socket file left behind there
    ///     is removed; the new one gets mode 0660.
    ///   - core: Answers the questions.
    ///   - logger: Of the library only warnings and errors.
    ///   - idleTimeout: How long a connection may begin no request before it is closed.
    ///   - onReady: Called once the socket listens.
    package init(
        socketPath: String, core: some SupervisorCore, logger: Logger,
        idleTimeout: TimeAmount = ControlServer.idleTimeout,
        onReady: @escaping @Sendable () -> Void = {}
    ) {
        self.socketPath = socketPath
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
            maxHeaderFieldSize: Self.headerByteCountMax,
            maxHeaderListSize: Self.headerByteCountMax, maxHeaderFieldCount: Self.headerCountMax)
        let channel = HTTP1Channel.Configuration(
            idleTimeout: idleTimeout, httpDecoderConfiguration: decoder)
        let application = Application(
            router: ControlServerRoutes.router(core: core, log: logger),
            server: HTTPServerBuilder { responder in
                ControlGate(
                    HTTP1Channel(responder: responder, configuration: channel), log: logger)
            },
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: socketPath),
                availableConnectionsDelegate: MaximumAvailableConnections(Self.acceptedCountMax)),
            onServerRunning: { _ in
                // Until here the umask holds; connecting needs the right to write.
                if chmod(socketPath, 0o660) != 0 {
                    logger.error("control socket: chmod failed", metadata: ["errno": "\(errno)"])
                }
                onReady()
            },
            eventLoopGroupProvider: .shared(threads), logger: quiet)
        var configuration = ServiceGroupConfiguration(services: [application], logger: quiet)
        configuration.maximumGracefulShutdownDuration = Self.stopTimeout
        group = ServiceGroup(configuration: configuration)
    }

    /// Serves until `stop`; throws when the socket cannot be made.
    package func run() async throws {
        let result: Result<Void, any Error>
        do {
            result = .success(try await group.run())
        } catch {
            result = .failure(error)
        }
        // The process ends soon, or the error tells more.
        try? await threads.shutdownGracefully()
        try result.get()
    }

    /// Takes no further connections and lets the answers under way finish.
    package func stop() async {
        await group.triggerGracefulShutdown()
    }
}

extension ControlServer {
    /// Serves, for a caller that does not know `await`; `onEnd` is called once, on another thread:
    /// with nil after `requestStop`, else with what went wrong.
    package func start(onEnd: @escaping @Sendable (String?) -> Void) {
        perform {
            Task.detached {
                do {
                    try await self.run()
                    onEnd(nil)
                } catch {
                    onEnd("control socket \(self.socketPath): \(error)")
                }
            }
        }
    }

    /// Asks it to stop and returns at once; `onEnd` tells when that has happened.
    package func requestStop() {
        perform { Task.detached { await self.stop() } }
    }

    /// Does what wakes a task, on the server's thread.
    ///
    /// The concurrency runtime may need a new thread for it, and where the system gives none it
    /// waits until one comes: that must not be the thread that supervises.
    func perform(_ work: @escaping @Sendable () -> Void) { threads.next().execute(work) }
}
