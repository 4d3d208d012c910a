import ControlAPI
import NIOCore
import NIOHTTP1

/// A whole answer of limited size.
struct HTTPAnswer: Sendable {
    let status: Int
    let body: [UInt8]
}

/// Why no whole answer came.
enum HTTPAnswerError: Error {
    case timedOut
    case cutShort
    case tooLarge

    var text: String {
        switch self {
        case .timedOut:
            "no answer within \(ControlConnection.timeout.nanoseconds / 1_000_000_000) s"
        case .cutShort: "the connection ended before the answer was complete"
        case .tooLarge: "an answer larger than \(ControlLimits.responseByteCountMax) bytes"
        }
    }
}

/// Collects one answer into a promise.
final class HTTPAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let promise: EventLoopPromise<HTTPAnswer>
    private var status = 0
    private var body: [UInt8] = []

    init(_ promise: EventLoopPromise<HTTPAnswer>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
        case .body(let bytes):
            guard body.count + bytes.readableBytes <= ControlLimits.responseByteCountMax else {
                promise.fail(HTTPAnswerError.tooLarge)
                context.close(promise: nil)
                return
            }
            body.append(contentsOf: bytes.readableBytesView)
        case .end:
            promise.succeed(HTTPAnswer(status: status, body: body))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        // Does nothing when the answer was complete.
        promise.fail(HTTPAnswerError.cutShort)
        context.fireChannelInactive()
    }
}
