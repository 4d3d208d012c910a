import ControlAPI
import FoundationEssentials
import GuestModel
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// The control API's addresses, each answered by one question to the core.
enum ControlServerRoutes {
    static func router(core: some SupervisorCore, log: Logger) -> Router<ControlContext> {
        let router = Router(context: ControlContext.self)
        router.add(middleware: PatienceMiddleware())
        router.add(middleware: ProblemMiddleware())
        let asking = Asking(core: core, log: log)
        router.get("/v1/sandboxes") { request, context in
            try await asking.answer(request, context, .list)
        }
        router.get("/v1/sandboxes/:name") { request, context in
            try await asking.answer(request, context, .details(try name(context)))
        }
        let orders: [(path: String, question: @Sendable (SandboxName) -> ControlRequest)] = [
            ("resume", { .resume($0) }), ("start", { .start($0) }), ("stop", { .stop($0) }),
            ("kill", { .kill($0) }), ("restart", { .restart($0) }),
            ("debug/restart-stub", { .restartStub($0) }), ("debug/take-over", { .takeOver($0) }),
        ]
        for (path, question) in orders {
            router.post("/v1/sandboxes/:name/\(path)") { request, context in
                try await asking.answer(request, context, question(try name(context)))
            }
        }
        return router
    }

    private static func name(_ context: ControlContext) throws(Problem) -> SandboxName {
        let text = context.parameters.get("name") ?? ""
        guard let name = SandboxName(text) else {
            throw Problem(code: .unknownSandbox, detail: "that is not the name of a sandbox")
        }
        return name
    }

    static func json(
        _ value: some Encodable, status: HTTPResponse.Status = .ok,
        contentType: String = "application/json"
    ) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes = ByteBuffer(bytes: try encoder.encode(value))
        bytes.writeString("\n")
        return Response(
            status: status, headers: [.contentType: contentType],
            body: ResponseBody(byteBuffer: bytes))
    }
}

/// What a request's handler knows of its connection.
struct ControlContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}

/// Turns a request into a question to the core, and the core's reply into an answer.
private struct Asking<Core: SupervisorCore> {
    let core: Core
    let log: Logger

    func answer(
        _ request: Request, _ context: ControlContext, _ question: ControlRequest
    ) async throws -> Response {
        // No request needs a body. One within the limit is read and ignored, so that a client
        // that always sends `{}` works.
        var request = request
        _ = try await request.collectBody(upTo: ControlLimits.requestByteCountMax)
        let sandbox = question.sandbox?.text
        switch await core.ask(question) {
        case .list(let list): return try ControlServerRoutes.json(list)
        case .details(let details): return try ControlServerRoutes.json(details)
        case .accepted(let status):
            let userID = await peerUserID(context.channel).map(String.init) ?? "?"
            log.info(
                "control.request", sandbox: question.sandbox,
                "\(request.method) \(request.uri.path) by uid \(userID)")
            return try ControlServerRoutes.json(status, status: .accepted)
        case .notFound:
            let text = "no sandbox \"\(sandbox ?? "")\" in the configuration"
            throw Problem(code: .unknownSandbox, detail: text, sandbox: sandbox)
        case .conflict(let text):
            throw Problem(code: .conflict, detail: text, sandbox: sandbox)
        case .unavailable(let text):
            throw Problem(code: .unavailable, detail: text, sandbox: sandbox)
        }
    }
}

/// Closes the connection of a client that does not finish its request, or does not take its
/// answer, in ten seconds.
private struct PatienceMiddleware: RouterMiddleware {
    private static let patience = TimeAmount.seconds(10)

    func handle(
        _ request: Request, context: ControlContext,
        next: (Request, ControlContext) async throws -> Response
    ) async throws -> Response {
        let channel = context.channel
        let end = channel.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
        var response = try await next(request, context)
        let body = response.body
        response.body = ResponseBody(contentLength: body.contentLength) { writer in
            defer { end.cancel() }
            try await body.write(writer)
        }
        return response
    }
}

/// Gives every refusal one form, `Problem`, also those that the HTTP library makes.
private struct ProblemMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: ControlContext,
        next: (Request, ControlContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as Problem {
            return try response(problem)
        } catch let error as any HTTPResponseError {
            return try response(problem(of: error, request))
        } catch {
            context.logger.error("control request failed", metadata: ["error": "\(error)"])
            return try response(Problem(code: .internalError, detail: "internal error"))
        }
    }

    private func problem(of error: any HTTPResponseError, _ request: Request) -> Problem {
        switch error.status {
        case .notFound:
            Problem(code: .unknownRoute, detail: "no such address in this API")
        case .methodNotAllowed:
            Problem(code: .methodNotAllowed, detail: "not with the method \(request.method)")
        case .contentTooLarge:
            Problem(
                code: .tooLarge,
                detail: "body larger than \(ControlLimits.requestByteCountMax) bytes")
        case let status where status.kind == .clientError:
            Problem(code: .badRequest, detail: status.reasonPhrase)
        default:
            Problem(code: .internalError, detail: "internal error")
        }
    }

    private func response(_ problem: Problem) throws -> Response {
        try ControlServerRoutes.json(
            problem, status: HTTPResponse.Status(code: problem.code.httpStatus),
            contentType: Problem.contentType)
    }
}
