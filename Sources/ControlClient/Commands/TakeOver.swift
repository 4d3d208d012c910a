import ArgumentParser
import ControlAPI
import GuestModel

/// What a verb that attaches does when somebody else is attached.
struct TakeOverOption: ParsableArguments {
    @Flag(
        name: .customLong("take-over"),
        help: "Send the debugger away that is attached; else that is exit code 75.")
    var isWanted = false
}

extension ControlConnection {
    /// How long a client may take to be gone that was sent away.
    private static let departureTime = Duration.seconds(5)
    private static let lookInterval = Duration.milliseconds(20)

    /// Everything about a sandbox that has a guest to debug, crashed or not.
    func debuggableDetails(of name: SandboxName) async throws(Failure) -> SandboxDetails {
        let details: SandboxDetails = try await value(of: .details(name))
        let state = details.status.state
        guard state.isAlive || state == .crashed else {
            throw .notRunning(["\(name) (\(state.rawValue))"])
        }
        return details
    }

    /// Sees to it that nobody is attached; `status` is what was known a moment ago.
    func makeRoom(
        in status: SandboxStatus, _ name: SandboxName, _ takeOver: TakeOverOption
    ) async throws(Failure) {
        guard let client = status.debug.client else { return }
        guard takeOver.isWanted else { throw .occupied(name.text, Self.text(of: client)) }
        var left = try await change(.takeOver(name)).debug.client
        let deadline = ContinuousClock.now + Self.departureTime
        while let stayed = left {
            guard ContinuousClock.now < deadline else {
                throw .occupied(name.text, Self.text(of: stayed))
            }
            // The control API tells states and no changes, so it is asked again. Only a cancelled task
            // wakes up early, and nothing cancels this one.
            try? await Task.sleep(for: Self.lookInterval)
            let details: SandboxDetails = try await value(of: .details(name))
            left = details.status.debug.client
        }
    }

    private static func text(of client: String) -> String {
        client == "unix" ? "a client of its Unix socket" : client
    }
}
