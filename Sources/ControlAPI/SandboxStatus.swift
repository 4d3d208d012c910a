// ControlAPI: the JSON of the control socket, as values.
//
// The server makes these from its state, the client reads them back; both sides and other tools
// rely on the field names, which stay the same within a major version. Times are RFC 3339 texts in
// UTC, sizes are bytes, absent values are left out. Nothing here does input or output.
// Start with `SandboxStatus` (one line of `hyperlight-ctl status`) and `ControlRoute`.

package import GuestModel

/// One sandbox in a few words: `GET /v1/sandboxes` answers with an array of these.
package struct SandboxStatus: Codable, Hashable, Sendable {
    package var name: String
    package var state: SandboxState
    /// When the state was entered, RFC 3339 in UTC: `2026-08-21T10:15:00Z`.
    package var since: String
    /// Starts of the worker after the first one.
    package var restarts: Int
    /// How many times the worker was started, from 1; 0 before the first start.
    package var generation: Int
    /// Nil until a driver was chosen.
    package var driver: DriverStatus?
    /// Process id of the worker, while it lives.
    package var workerPID: Int32?
    /// Process id of the debug stub, while it lives.
    package var stubPID: Int32?
    /// Resident memory of the worker, guest memory included.
    package var workerResidentBytes: UInt64?
    package var debug: DebugStatus
    /// The last thing that went wrong, in words.
    package var lastError: String?
    /// In state `backoff`: milliseconds until the next start.
    package var retryMilliseconds: Int64?
    /// Those of `worker` and `stub` that have not answered for 5 s; nil when all is well.
    package var unresponsive: [String]?

    /// A sandbox in a state, with everything else absent.
    package init(name: String, state: SandboxState, since: String, debug: DebugStatus) {
        self.name = name
        self.state = state
        self.since = since
        self.restarts = 0
        self.generation = 0
        self.debug = debug
    }
}

/// The hypervisor driver a sandbox runs on.
package struct DriverStatus: Codable, Hashable, Sendable {
    package var name: DriverName
    /// It cannot do everything; `reason` says what.
    package var isLimited: Bool
    /// Why this driver was chosen, or what it lacks.
    package var reason: String?

    package init(name: DriverName, isLimited: Bool, reason: String? = nil) {
        self.name = name
        self.isLimited = isLimited
        self.reason = reason
    }

    private enum CodingKeys: String, CodingKey {
        case name
        case isLimited = "limited"
        case reason
    }
}

/// How a sandbox can be debugged at this moment.
package struct DebugStatus: Codable, Hashable, Sendable {
    package var state: DebugDoorState
    /// `127.0.0.1:9001` or `[::1]:9001`; nil without TCP debugging.
    package var address: String?
    /// Path of the debug socket; nil when there is none.
    package var unixSocket: String?
    /// The attached client: its TCP address, or `unix`.
    package var client: String?
    /// Why debugging is unavailable, or what the guest waits for.
    package var detail: String?

    package init(
        state: DebugDoorState, address: String? = nil, unixSocket: String? = nil,
        client: String? = nil, detail: String? = nil
    ) {
        self.state = state
        self.address = address
        self.unixSocket = unixSocket
        self.client = client
        self.detail = detail
    }
}

extension SandboxState: Codable {}
extension DebugDoorState: Codable {}
extension DriverName: Codable {}
extension GuestABIName: Codable {}
