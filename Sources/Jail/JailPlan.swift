package import GuestModel

/// What one worker or stub is to give up: decided by the supervisor, carried out by the child.
///
/// It travels as one word of the child's command line, so `ps` shows it.
package struct JailPlan: Hashable, Sendable {
    package var profile: IsolationProfile
    /// Namespaces that the child is born in: PID, and user when the supervisor is not root.
    package var bornIn: NamespaceSet
    /// Namespaces that it enters by itself.
    package var enters: NamespaceSet
    /// User and group id to become; nil keeps those it was started with.
    package var identity: UInt32?
    /// Most bytes of address space; nil sets no limit.
    package var addressSpaceBytes: UInt64?
    /// A forbidden call is told to the supervisor by name before the process is killed.
    package var reportsViolations: Bool

    package init(
        profile: IsolationProfile, bornIn: NamespaceSet = [], enters: NamespaceSet = [],
        identity: UInt32? = nil, addressSpaceBytes: UInt64? = nil, reportsViolations: Bool = false
    ) {
        self.profile = profile
        self.bornIn = bornIn
        self.enters = enters
        self.identity = identity
        self.addressSpaceBytes = addressSpaceBytes
        self.reportsViolations = reportsViolations
    }

    /// The plan as one word: "strict,born=16,enters=47,user=1879048192,memory=1073741824,diagnose".
    package var argument: String {
        var words = [profile.rawValue, "born=\(bornIn.rawValue)", "enters=\(enters.rawValue)"]
        if let identity { words.append("user=\(identity)") }
        if let addressSpaceBytes { words.append("memory=\(addressSpaceBytes)") }
        if reportsViolations { words.append("diagnose") }
        return words.joined(separator: ",")
    }

    /// Nil for anything but what `argument` gives.
    package init?(argument: String) {
        var words = argument.split(separator: ",", omittingEmptySubsequences: false)[...]
        guard let first = words.popFirst(), let profile = IsolationProfile(rawValue: String(first))
        else { return nil }
        self.init(profile: profile)
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let number = parts.count == 2 ? UInt64(parts[1]) : nil
            switch (parts[0], number) {
            case ("diagnose", nil): reportsViolations = true
            case ("born", let number?): bornIn = NamespaceSet(rawValue: UInt8(clamping: number))
            case ("enters", let number?): enters = NamespaceSet(rawValue: UInt8(clamping: number))
            case ("user", let number?): identity = UInt32(exactly: number)
            case ("memory", let number?): addressSpaceBytes = number
            default: return nil
            }
        }
        guard self.argument == argument else { return nil }
    }
}
