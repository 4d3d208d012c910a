package import ControlAPI
import GuestModel

/// `hyperlight-ctl status` as text.
package enum StatusTable {
    /// - Parameters:
    ///   - sandboxes: In the order they are shown.
    ///   - now: Seconds since 1970; the column SINCE is relative to it.
    /// - Returns: One line for the header and one a sandbox.
    package static func text(_ sandboxes: [SandboxStatus], now: Int64) -> String {
        var table = TextTable(header: [
            "NAME", "STATE", "SINCE", "RESTARTS", "DRIVER", "PID", "MEM", "DEBUG",
        ])
        for sandbox in sandboxes {
            table.append([
                sandbox.name, sandbox.state.rawValue, age(sandbox.since, now: now),
                "\(sandbox.restarts)", driver(sandbox.driver),
                sandbox.workerPID.map { "\($0)" } ?? "",
                sandbox.workerResidentBytes.map(size) ?? "",
                ([debug(sandbox)] + remarks(sandbox)).joined(separator: "  "),
            ])
        }
        return table.text
    }

    /// `12s`, `5m12s`, `2h04m`, `3d04h`; empty when the time cannot be read.
    package static func age(_ since: String, now: Int64) -> String {
        guard let start = Timestamp.secondsSinceEpoch(since) else { return "" }
        let seconds = max(0, now - start)
        func padded(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m\(padded(seconds % 60))s"
        case ..<86400: return "\(seconds / 3600)h\(padded(seconds / 60 % 60))m"
        default: return "\(seconds / 86400)d\(padded(seconds / 3600 % 24))h"
        }
    }

    /// `512B`, `11.2M`: binary units, one decimal.
    package static func size(_ bytes: UInt64) -> String {
        guard bytes >= 1024 else { return "\(bytes)B" }
        var tenths = bytes / 1024 * 10 + bytes % 1024 * 10 / 1024
        var unit = "K"
        for next in ["M", "G", "T"] where tenths >= 10240 {
            tenths /= 1024
            unit = next
        }
        return "\(tenths / 10).\(tenths % 10)\(unit)"
    }

    /// What else there is to say of a sandbox that is not well.
    static func remarks(_ sandbox: SandboxStatus) -> [String] {
        let silent = (sandbox.unresponsive ?? []).map { "\($0) unresponsive" }
        guard let time = sandbox.retryMilliseconds else { return silent }
        return ["retry in \(time / 1000).\(time % 1000 / 100)s"] + silent
    }

    private static func driver(_ driver: DriverStatus?) -> String {
        guard let driver else { return "" }
        return driver.name.rawValue + (driver.isLimited ? " (limited)" : "")
    }

    private static func debug(_ sandbox: SandboxStatus) -> String {
        let debug = sandbox.debug
        let door = debug.address ?? (debug.unixSocket == nil ? "" : "unix")
        let held = sandbox.state == .crashed || sandbox.state == .waiting ? "held, " : ""
        switch debug.state {
        case .off: return "off"
        case .restarting: return "restarting"
        case .listening: return held + door
        case .attached: return held + door + (debug.client.map { " attached \($0)" } ?? " attached")
        case .unavailable: return "unavailable" + (debug.detail.map { " (\($0))" } ?? "")
        }
    }
}
