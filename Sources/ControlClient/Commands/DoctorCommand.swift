import ArgumentParser
import ControlAPI

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Checks what this machine can do for sandboxes, and says how to improve it.",
        discussion: """
            Looks at the hypervisor devices and drivers, kernel features for confinement, gdb and \
            the supervisor. Exit code 1 when a check fails; warnings do not count.

            EXAMPLES
              hyperlight-ctl doctor
              hyperlight-ctl doctor --format json
            """)

    @Option(help: "table or json.")
    var format: OutputFormat = .table

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            var report = Doctor.machineReport()
            report.checks.append(await supervisorCheck())
            switch format {
            case .table: Output.write(DoctorText.text(report))
            case .json: Output.writeJSON(report)
            }
            if report.verdict == .fail { throw .checksFailed }
        }
    }

    private func supervisorCheck() async -> DoctorReport.Check {
        let name = "supervisor"
        do throws(Failure) {
            let connection = try options.connection()
            let count = try await connection.list().count
            return DoctorReport.Check(
                name: name, verdict: .pass,
                detail: "answers at \(connection.socketPath), sandboxes: \(count)")
        } catch {
            return DoctorReport.Check(
                name: name, verdict: .warn, detail: error.text ?? "not reachable",
                remedy: "start it: hyperlight-supervisor --config FILE")
        }
    }
}

/// The doctor's findings as lines.
enum DoctorText {
    static func text(_ report: DoctorReport) -> String {
        let width = report.checks.map(\.name.count).max() ?? 0
        let lines = report.checks.map { check in
            let gap = String(repeating: " ", count: width - check.name.count + 2)
            let first =
                "\(check.verdict.rawValue)  \(check.name)\(gap)\(TextTable.printable(check.detail))\n"
            return first + (check.remedy.map { "      remedy: \(TextTable.printable($0))\n" } ?? "")
        }
        let warnings = report.checks.count { $0.verdict == .warn }
        let failures = report.checks.count { $0.verdict == .fail }
        return lines.joined() + "\(report.checks.count) checks: \(failures) failed, "
            + "\(warnings) with a warning\n"
    }
}
