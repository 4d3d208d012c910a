import ControlAPI
import GuestModel
import Supervisor

/// Answers from a script: one sandbox, `a`, in every state of trouble.
struct FakeCore: SupervisorCore {
    static let status = SandboxStatus(
        name: "a", state: .waiting, since: "1970-01-01T00:00:00Z",
        debug: DebugStatus(state: .listening, address: "127.0.0.1:9001"))

    static let details = SandboxDetails(
        status: status, guest: "/g", symbols: "/g", abi: .bare,
        memory: MemoryDetails(heap: 1, scratch: 2, inputData: 3, outputData: 4), labels: [:],
        config: ConfigDetails(
            source: "f.json:1", mode: "serve", hypervisor: ["auto"], debugStartup: "wait",
            debugOnDisconnect: "resume", debugOnKill: "detach", debugOnCrash: "hold",
            debugAccess: "read-write", debugWaitTimeoutMilliseconds: 0,
            restart: RestartDetails(
                policy: "never", initialDelayMilliseconds: 0, maxDelayMilliseconds: 0, burst: 1,
                windowMilliseconds: 1)),
        isolation: IsolationDetails(
            profile: .container, required: [], diagnose: false, processes: []))

    func ask(_ request: ControlRequest) async -> ControlReply {
        guard let sandbox = request.sandbox else { return .list([Self.status]) }
        switch sandbox.text {
        case "a": break
        case "busy": return .conflict("nothing to resume")
        case "late": return .unavailable("the supervisor is stopping")
        default: return .notFound
        }
        switch request {
        case .list, .details: return .details(Self.details)
        case .resume, .start, .stop, .kill, .restart, .restartStub, .takeOver:
            return .accepted(Self.status)
        }
    }
}
