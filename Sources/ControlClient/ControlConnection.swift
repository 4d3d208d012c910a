// ControlClient: the verbs of `hyperlight-ctl`.
//
// `HyperlightControl` is the command tree; each verb is one file in `Commands/`. A verb asks the
// supervisor through `ControlConnection`, and a pure part turns the answer into text
// (`StatusTable`, `DetailsText`, `DebuggerCommand`) or into findings (`Doctor`). `Failure` maps every
// way to fail to a sentence and an exit code. Nothing here knows guests or hypervisors.

package import ControlAPI
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Requests to the supervisor over its control socket, one connection each.
package struct ControlConnection: Sendable {
    /// How long an answer may take.
    static let timeout = TimeAmount.seconds(10)

    package let socketPath: String

    package init(socketPath: String) { self.socketPath = socketPath }

    /// All sandboxes, in the order of the configuration.
    package func list() async throws(Failure) -> [SandboxStatus] {
        try await value(of: .list)
    }

    /// Sends one request and decodes its answer.
    ///
    /// - Throws: `Failure`, with the supervisor's own words when it refused.
    package func value<Value: Decodable>(of route: ControlRoute) async throws(Failure) -> Value {
        let answer = try await send(route)
        let data = Data(answer.body)
        guard (200..<300).contains(answer.status) else {
            guard let problem = try? JSONDecoder().decode(Problem.self, from: data) else {
                throw .badAnswer(socketPath, "HTTP status \(answer.status)")
            }
            throw .refused(problem)
        }
        do {
            return try JSONDecoder().decode(Value.self, from: data)
        } catch {
            throw .badAnswer(socketPath, "\(error)")
        }
    }

    private func send(_ route: ControlRoute) async throws(Failure) -> HTTPAnswer {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: HTTPAnswer.self)
        let deadline = loop.scheduleTask(in: Self.timeout) {
            promise.fail(HTTPAnswerError.timedOut)
        }
        promise.futureResult.whenComplete { _ in deadline.cancel() }
        do {
            let channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHTTPClientHandlers()
                        try pipeline.addHandler(HTTPAnswerHandler(promise))
                    }
                }
                .connect(unixDomainSocketPath: socketPath).get()
            defer { channel.close(promise: nil) }
            let head = HTTPRequestHead(
                version: .http1_1, method: HTTPMethod(rawValue: route.method), uri: route.path,
                headers: [
                    "host": "localhost", "accept": "application/json", "content-length": "0",
                    "connection": "close",
                ])
            channel.write(HTTPClientRequestPart.head(head), promise: nil)
            channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
            return try await promise.futureResult.get()
        } catch {
            // A promise must not be left open; a second failure of it is ignored.
            promise.fail(error)
            throw failure(for: error)
        }
    }

    private func failure(for error: any Error) -> Failure {
        if let error = error as? HTTPAnswerError { return .badAnswer(socketPath, error.text) }
        guard let error = error as? IOError else { return .badAnswer(socketPath, "\(error)") }
        switch error.errnoCode {
        case EACCES, EPERM: return .notPermitted(socketPath, SocketFile(socketPath)?.text)
        default: return .notReachable(socketPath, String(cString: strerror(error.errnoCode)))
        }
    }
}
