/// What a file says about restarts; nil where it is silent.
struct RestartFields {
    var policy: RestartChoice?
    var initialDelay: Duration?
    var maxDelay: Duration?
    var burst: Int?
    var window: Duration?

    func filled(from defaults: RestartFields) -> RestartFields {
        RestartFields(
            policy: policy ?? defaults.policy,
            initialDelay: initialDelay ?? defaults.initialDelay,
            maxDelay: maxDelay ?? defaults.maxDelay, burst: burst ?? defaults.burst,
            window: window ?? defaults.window)
    }
}

extension ConfigReader {
    /// Longer times are mistakes, and no sum of them can overflow a clock.
    private static let restartTimeMax = Duration.seconds(24 * 3600)

    mutating func readRestart(_ view: ObjectView) -> RestartFields {
        var fields = RestartFields()
        let policy: Located<RestartChoice>? = choice(view, "policy")
        fields.policy = policy?.value
        fields.initialDelay = restartTime(view, "initialDelay")
        fields.maxDelay = restartTime(view, "maxDelay")
        fields.window = restartTime(view, "window")
        fields.burst = integer(view, "burst", allowed: 1...1000, called: "a number of restarts")
            .map { Int($0.value) }
        return fields
    }

    private mutating func restartTime(_ view: ObjectView, _ key: String) -> Duration? {
        guard let time = duration(view, key) else { return nil }
        guard time > .zero, time <= Self.restartTimeMax else {
            problems.error(
                .outOfRange, at: view.members[key]?.position ?? view.position,
                view.path.appending(key: key), "must be longer than 0s and at most 24h")
            return nil
        }
        return time
    }

    /// With defaults; delays that contradict each other are a mistake.
    mutating func restartSettings(_ fields: RestartFields, _ view: ObjectView) -> RestartSettings {
        var settings = RestartSettings()
        settings.policy = fields.policy ?? settings.policy
        settings.initialDelay = fields.initialDelay ?? settings.initialDelay
        settings.maxDelay = fields.maxDelay ?? max(settings.maxDelay, settings.initialDelay)
        settings.burst = fields.burst ?? settings.burst
        settings.window = fields.window ?? settings.window
        if settings.maxDelay < settings.initialDelay {
            problems.error(
                .outOfRange, at: view.members["restart"]?.position ?? view.position,
                view.path.appending(key: "restart"),
                "maxDelay is shorter than initialDelay")
        }
        return settings
    }
}
