/// The body of every answer that is not a success.
///
/// - Source: RFC 9457 "Problem Details for HTTP APIs"; `code` and `sandbox` are extension members.
package struct Problem: Codable, Hashable, Sendable, Error {
    /// The content type of such a body.
    package static let contentType = "application/problem+json"

    /// The kinds of refusal; the raw values never change meaning.
    package enum Code: String, Codable, Hashable, Sendable, CaseIterable {
        /// 400: the request is malformed.
        case badRequest = "bad-request"
        /// 404: no such address.
        case unknownRoute = "unknown-route"
        /// 404: the configuration knows no sandbox of that name.
        case unknownSandbox = "unknown-sandbox"
        /// 405: the address exists, but not for this method.
        case methodNotAllowed = "method-not-allowed"
        /// 409: not possible in the present state.
        case conflict
        /// 413: body larger than the limit.
        case tooLarge = "too-large"
        /// 503: the supervisor is stopping or did not answer in time.
        case unavailable
        /// 500: a mistake of ours.
        case internalError = "internal-error"

        /// The HTTP status that goes with it.
        package var httpStatus: Int {
            switch self {
            case .badRequest: 400
            case .unknownRoute, .unknownSandbox: 404
            case .methodNotAllowed: 405
            case .conflict: 409
            case .tooLarge: 413
            case .unavailable: 503
            case .internalError: 500
            }
        }
    }

    package var code: Code
    /// The HTTP status code again.
    package var status: Int
    /// One sentence for a person.
    package var detail: String
    /// The sandbox meant, when there is one.
    package var sandbox: String?

    package init(code: Code, detail: String, sandbox: String? = nil) {
        self.code = code
        self.status = code.httpStatus
        self.detail = detail
        self.sandbox = sandbox
    }
}
