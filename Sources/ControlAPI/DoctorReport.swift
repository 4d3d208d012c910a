/// What `hyperlight-ctl doctor` found; `--format json` prints this.
package struct DoctorReport: Codable, Hashable, Sendable {
    /// How one check came out.
    package enum Verdict: String, Codable, Hashable, Sendable, CaseIterable {
        case pass
        /// Works, with less than there could be.
        case warn
        /// Sandboxes cannot run, or cannot run safely.
        case fail
    }

    /// One thing that was looked at.
    package struct Check: Codable, Hashable, Sendable {
        /// A stable word: `kvm-device`, `seccomp`, `gdb`, ...
        package var name: String
        package var verdict: Verdict
        /// What was seen.
        package var detail: String
        /// What to do about it; nil when all is well.
        package var remedy: String?

        package init(name: String, verdict: Verdict, detail: String, remedy: String? = nil) {
            self.name = name
            self.verdict = verdict
            self.detail = detail
            self.remedy = remedy
        }
    }

    package var checks: [Check]

    package init(checks: [Check]) { self.checks = checks }

    /// The worst of all checks; `pass` when there is none.
    package var verdict: Verdict {
        if checks.contains(where: { $0.verdict == .fail }) { return .fail }
        return checks.contains { $0.verdict == .warn } ? .warn : .pass
    }
}
