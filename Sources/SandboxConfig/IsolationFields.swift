import GuestModel

/// What a file says about confinement; nil where it is silent.
struct IsolationFields {
    var profile: IsolationProfile?
    var required: Set<IsolationMeasure>?
    var reportsViolations: Bool?

    func filled(from defaults: IsolationFields) -> IsolationFields {
        IsolationFields(
            profile: profile ?? defaults.profile, required: required ?? defaults.required,
            reportsViolations: reportsViolations ?? defaults.reportsViolations)
    }

    var settings: IsolationSettings {
        var settings = IsolationSettings()
        settings.profile = profile
        settings.required = required ?? settings.required
        settings.reportsViolations = reportsViolations ?? settings.reportsViolations
        return settings
    }
}

extension ConfigReader {
    /// Too little for any worker.
    private static let memoryLimitMin: UInt64 = 16 << 20
    /// Ids below belong to people and services; two ids a sandbox fit above.
    private static let userIDs: ClosedRange<UInt64> =
        1000...UInt64(UInt32.max) - 2 * UInt64(sandboxCountMax) - 1

    mutating func readIsolation(_ view: ObjectView) -> IsolationFields {
        var fields = IsolationFields()
        let profile: Located<IsolationProfile>? = choice(view, "profile")
        fields.profile = profile?.value
        fields.required = required(view)
        fields.reportsViolations = bool(view, "diagnose")
        return fields
    }

    private mutating func required(_ view: ObjectView) -> Set<IsolationMeasure>? {
        guard let tree = view.members["require"] else { return nil }
        let place = view.path.appending(key: "require")
        guard case .array(let elements) = tree.content else {
            wrongType(tree, at: place, expected: "an array")
            return nil
        }
        var measures: Set<IsolationMeasure> = []
        for (index, element) in elements.enumerated() {
            let elementPath = place.appending(index: index)
            guard case .string(let text) = element.content else {
                wrongType(element, at: elementPath, expected: "a string")
                continue
            }
            guard let measure = IsolationMeasure(rawValue: text) else {
                notAllowed(
                    text, Located(value: text, position: element.position, path: elementPath),
                    allowed: IsolationMeasure.allCases.map(\.rawValue))
                continue
            }
            if !measures.insert(measure).inserted {
                problems.error(
                    .invalidValue, at: element.position, elementPath,
                    "\"\(text)\" stands twice in the list")
            }
        }
        return measures
    }

    mutating func readLimits(_ view: ObjectView) -> LimitSettings {
        LimitSettings(
            memory: size(
                view, "memory", allowed: Self.memoryLimitMin...Self.memoryByteCountLimit * 2),
            processorPercent: integer(
                view, "cpuPercent", allowed: 1...100, called: "a percentage"
            ).map { Int($0.value) })
    }

    mutating func readFirstUserID(_ root: ObjectView) -> UInt32? {
        guard let users = object(root, "users", ConfigKeys.users) else { return nil }
        return integer(users, "base", allowed: Self.userIDs, called: "a first user id").map {
            UInt32($0.value)
        }
    }
}
