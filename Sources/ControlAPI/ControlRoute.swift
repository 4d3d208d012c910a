package import GuestModel

/// The addresses of the control API, so that both sides spell them the same.
package enum ControlRoute: Hashable, Sendable {
    /// `GET /v1/sandboxes`: an array of `SandboxStatus`.
    case list
    /// `GET /v1/sandboxes/{name}`: `SandboxDetails`.
    case details(SandboxName)
    /// `POST /v1/sandboxes/{name}/resume`: 202 with `SandboxStatus`.
    case resume(SandboxName)
    /// `POST /v1/sandboxes/{name}/start`: 202 with `SandboxStatus`.
    case start(SandboxName)
    /// `POST /v1/sandboxes/{name}/stop`: 202 with `SandboxStatus`.
    case stop(SandboxName)
    /// `POST /v1/sandboxes/{name}/kill`: 202 with `SandboxStatus`; as `stop`, but at once.
    case kill(SandboxName)
    /// `POST /v1/sandboxes/{name}/restart`: 202 with `SandboxStatus`.
    case restart(SandboxName)
    /// `POST /v1/sandboxes/{name}/debug/restart-stub`: 202 with `SandboxStatus`.
    case restartStub(SandboxName)
    /// `POST /v1/sandboxes/{name}/debug/take-over`: 202 with `SandboxStatus`, whose client is gone
    /// soon.
    case takeOver(SandboxName)

    package var method: String {
        switch self {
        case .list, .details: "GET"
        case .resume, .start, .stop, .kill, .restart, .restartStub, .takeOver: "POST"
        }
    }

    /// Needs no percent encoding: sandbox names are DNS labels.
    package var path: String {
        switch self {
        case .list: "/v1/sandboxes"
        case .details(let name): "/v1/sandboxes/\(name)"
        case .resume(let name): "/v1/sandboxes/\(name)/resume"
        case .start(let name): "/v1/sandboxes/\(name)/start"
        case .stop(let name): "/v1/sandboxes/\(name)/stop"
        case .kill(let name): "/v1/sandboxes/\(name)/kill"
        case .restart(let name): "/v1/sandboxes/\(name)/restart"
        case .restartStub(let name): "/v1/sandboxes/\(name)/debug/restart-stub"
        case .takeOver(let name): "/v1/sandboxes/\(name)/debug/take-over"
        }
    }
}

/// Numbers both sides of the control socket hold to.
package enum ControlLimits {
    /// Largest request body in bytes.
    package static let requestByteCountMax = 1 << 20
    /// Largest answer a client takes in bytes: 1024 sandboxes with room to spare.
    package static let responseByteCountMax = 16 << 20
    /// Most connections served at once.
    package static let connectionCountMax = 32
    /// Of these, most of one user.
    package static let connectionsPerUserMax = 16
}
