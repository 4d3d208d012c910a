package import ControlAPI
import GuestModel

/// `hyperlight-ctl show` as text: one `key  value` a line.
package enum DetailsText {
    /// - Parameters:
    ///   - details: What the supervisor said.
    ///   - now: Seconds since 1970.
    /// - Returns: Lines with aligned values.
    package static func text(_ details: SandboxDetails, now: Int64) -> String {
        let status = details.status
        var lines: [(String, String)] = [
            ("name", status.name),
            ("state", status.state.rawValue),
            ("since", "\(status.since) (\(StatusTable.age(status.since, now: now)))"),
            ("restarts", "\(status.restarts)"),
            ("generation", "\(status.generation)"),
        ]
        lines += StatusTable.remarks(status).map { ("remark", $0) }
        if let error = status.lastError { lines.append(("last error", error)) }
        lines += driver(status.driver)
        lines += processes(status)
        lines += isolation(details.isolation)
        lines += debug(status.debug)
        lines += configuration(details)
        let width = lines.map(\.0.count).max() ?? 0
        return lines.map { key, value in
            let gap = String(repeating: " ", count: width - key.count + 2)
            return key + gap + TextTable.printable(value) + "\n"
        }.joined()
    }

    private static func driver(_ driver: DriverStatus?) -> [(String, String)] {
        guard let driver else { return [("driver", "-")] }
        let limited = driver.isLimited ? " (limited)" : ""
        let reason = driver.reason.map { ": \($0)" } ?? ""
        return [("driver", driver.name.rawValue + limited + reason)]
    }

    private static func processes(_ status: SandboxStatus) -> [(String, String)] {
        var worker = status.workerPID.map { "pid \($0)" } ?? "-"
        if let bytes = status.workerResidentBytes {
            worker += ", \(StatusTable.size(bytes)) resident"
        }
        return [("worker", worker), ("stub", status.stubPID.map { "pid \($0)" } ?? "-")]
    }

    private static func isolation(_ isolation: IsolationDetails) -> [(String, String)] {
        let required = isolation.required.map(\.rawValue).joined(separator: ", ")
        var lines = [
            (
                "isolation",
                isolation.profile.rawValue + (isolation.diagnose ? ", diagnose" : "")
                    + ", requires \(required.isEmpty ? "nothing" : required)"
            )
        ]
        for process in isolation.processes {
            lines.append(("\(process.role) jail", process.text))
            lines += process.missing.map { ("\(process.role) lacks", $0) }
        }
        return lines
    }

    private static func debug(_ debug: DebugStatus) -> [(String, String)] {
        var lines = [("debug", debug.state.rawValue + (debug.detail.map { ": \($0)" } ?? ""))]
        if let address = debug.address { lines.append(("debug address", address)) }
        if let socket = debug.unixSocket { lines.append(("debug socket", socket)) }
        if let client = debug.client { lines.append(("debug client", client)) }
        return lines
    }

    private static func configuration(_ details: SandboxDetails) -> [(String, String)] {
        let config = details.config
        let memory = details.memory
        let labels = details.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let wait = config.debugWaitTimeoutMilliseconds
        return [
            ("guest", details.guest),
            ("symbols", details.symbols),
            ("abi", details.abi.rawValue),
            ("hypervisor", config.hypervisor.joined(separator: ", ")),
            ("mode", config.mode),
            (
                "memory",
                "heap \(StatusTable.size(memory.heap)), scratch \(StatusTable.size(memory.scratch)), "
                    + "input \(StatusTable.size(memory.inputData)), "
                    + "output \(StatusTable.size(memory.outputData))"
            ),
            ("debug startup", config.debugStartup + (wait > 0 ? ", at most \(wait) ms" : "")),
            ("debug access", config.debugAccess),
            ("on disconnect", config.debugOnDisconnect),
            ("on kill", config.debugOnKill),
            ("on crash", config.debugOnCrash),
            ("restart", restart(config.restart)),
            ("labels", labels.isEmpty ? "-" : labels.joined(separator: " ")),
            ("configured in", config.source),
        ]
    }

    private static func restart(_ restart: RestartDetails) -> String {
        guard restart.policy != "never" else { return restart.policy }
        return "\(restart.policy), after \(restart.initialDelayMilliseconds) ms to "
            + "\(restart.maxDelayMilliseconds) ms, at most \(restart.burst) in "
            + "\(restart.windowMilliseconds) ms"
    }
}
