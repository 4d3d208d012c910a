/// How often something may die, and how soon it comes back.
struct RestartPolicy: Hashable, Sendable {
    /// Nanoseconds to the first restart; doubles with each death inside the window.
    var firstDelay: UInt64 = 200_000_000
    var delayMax: UInt64 = 30_000_000_000
    var window: UInt64 = 60_000_000_000
    /// More deaths than this inside the window, and it does not come back.
    var deathsMax = 10
}

/// How often something died, and when it may be started again.
///
/// Pure: times are nanoseconds of a clock the caller chooses.
struct RestartHistory {
    let policy: RestartPolicy
    private var deaths: [UInt64] = []

    init(_ policy: RestartPolicy = RestartPolicy()) { self.policy = policy }

    /// Deaths that still count.
    var recentDeaths: Int { deaths.count }

    /// Notes a death; the time of the next start, or nil after too many deaths in too short a time.
    ///
    /// `random` moves the delay by up to a tenth, so that what died together does not come back
    /// together.
    mutating func noteDeath(at now: UInt64, random: UInt64 = evenRandom) -> UInt64? {
        forgetOld(at: now)
        deaths.append(now)
        guard deaths.count <= policy.deathsMax else { return nil }
        var delay = policy.firstDelay
        for _ in 1..<deaths.count where delay < policy.delayMax { delay *= 2 }
        delay = min(delay, policy.delayMax)
        return now + delay / 1000 * (900 + random % 201)
    }

    /// The random number that moves nothing.
    static let evenRandom: UInt64 = 100

    private mutating func forgetOld(at now: UInt64) {
        deaths.removeAll { now >= $0 && now - $0 > policy.window }
    }

    /// Forgets everything: somebody asked for a new start.
    mutating func forgive() { deaths = [] }
}
