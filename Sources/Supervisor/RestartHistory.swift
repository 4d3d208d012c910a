/// How often something may die, and how soon it comes back.
struct RestartPolicy: Hashable, Sendable {
    /// Nanoseconds to the first restart; doubles with each death until one lived for a window.
    var firstDelay: UInt64
    var delayMax: UInt64
    var window: UInt64
    /// More deaths than this inside the window, and it does not come back.
    var deathsMax: Int

    /// Of stubs.
    ///
    /// The longest delay is short enough for eleven deaths in a window: one that always dies at once
    /// is given up after half a minute.
    static let stub = RestartPolicy(
        firstDelay: 200_000_000, delayMax: 5_000_000_000, window: 60_000_000_000, deathsMax: 10)
}

/// How often something died, and when it may be started again.
///
/// Pure: times are nanoseconds of a clock the caller chooses.
struct RestartHistory {
    let policy: RestartPolicy
    /// Those inside the window.
    private var deaths: [UInt64] = []
    private var nextDelay: UInt64
    /// When the present one was started.
    private var lastStart: UInt64 = 0

    init(_ policy: RestartPolicy) {
        self.policy = policy
        nextDelay = policy.firstDelay
    }

    /// Deaths that still count.
    var recentDeaths: Int { deaths.count }

    /// Notes a death; the time of the next start, or nil after too many deaths in too short a time.
    ///
    /// `random` moves the delay by up to a tenth, so that what died together does not come back
    /// together.
    mutating func noteDeath(at now: UInt64, random: UInt64 = evenRandom) -> UInt64? {
        deaths.removeAll { now >= $0 && now - $0 > policy.window }
        deaths.append(now)
        guard deaths.count <= policy.deathsMax else { return nil }
        if now >= lastStart, now - lastStart > policy.window { nextDelay = policy.firstDelay }
        let delay = min(nextDelay, policy.delayMax)
        nextDelay = min(delay * 2, policy.delayMax)
        lastStart = now + delay / 1000 * (900 + random % 201)
        return lastStart
    }

    /// The random number that moves nothing.
    static let evenRandom: UInt64 = 100

    /// Forgets everything: somebody asked for a new start.
    mutating func forgive() { self = RestartHistory(policy) }
}
