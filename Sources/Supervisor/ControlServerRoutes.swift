import ControlAPI
import FoundationEssentials
import GuestModel
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// The control API's addresses, each answered by one question to the core.
enum ControlServerRoutes {
    static func router(core: some SupervisorCore) -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: ProblemMiddleware())
        router.get("/v1/sandboxes") { request, _ in
            try await answer(request, .list, core)
        }
        router.get("/v1/sandboxes/:name") { request, context in
            try await answer(request, .details(try name(context)), core)
        }
        router.post("/v1/sandboxes/:name/resume") { request, context in
            try await answer(request, .resume(try name(context)), core)
        }
        router.post("/v1/sandboxes/:name/start") { request, context in
            try await answer(request, .start(try name(context)), core)
        }
        router.post("/v1/sandboxes/:name/stop") { request, context in
            try await answer(request, .stop(try name(context)), core)
        }
        router.post("/v1/sandboxes/:name/kill") { request, context in
            try await answer(request, .kill(try name(context)), core)
        }
        router.post("/v1/sandboxes/:name/restart") { request, context in
            try await answer(request, .restart(try name(context)), core)
        }
        router.post("/v1/sandboxes/:name/debug/restart-stub") { request, context in
            try await answer(request, .restartStub(try name(context)), core)
        }
        return router
    }

    private static func name(_ context: BasicRequestContext) throws(Problem) -> SandboxName {
        let text = context.parameters.get("name") ?? ""
        guard let name = SandboxName(text) else {
            throw Problem(code: .unknownSandbox, detail: "that is not the name of a sandbox")
        }
        return name
    }

    private static func answer(
        _ request: Request, _ question: ControlRequest, _ core: some SupervisorCore
    ) async throws -> Response {
        // No request needs a body. One within the limit is read and ignored, so that a client
        // that always sends `{}` works.
        var request = request
        _ = try await request.collectBody(upTo: ControlLimits.requestByteCountMax)
        let sandbox = question.sandbox?.text
        switch await core.ask(question) {
        case .list(let list): return try json(list)
        case .details(let details): return try json(details)
        case .accepted(let status): return try json(status, status: .accepted)
        case .notFound:
            let text = "no sandbox \"\(sandbox ?? "")\" in the configuration"
            throw Problem(code: .unknownSandbox, detail: text, sandbox: sandbox)
        case .conflict(let text):
            throw Problem(code: .conflict, detail: text, sandbox: sandbox)
        case .unavailable(let text):
            throw Problem(code: .unavailable, detail: text, sandbox: sandbox)
        }
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

/// Gives every refusal one form, `Problem`, also those that the HTTP library makes.
private struct ProblemMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: BasicRequestContext,
        next: (Request, BasicRequestContext) async throws -> Response
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
