/// How often something died, and when it may be started again.
///
/// Pure: times are nanoseconds of a clock the caller chooses.
struct RestartHistory {
    static let firstDelay: UInt64 = 200_000_000
    static let delayMax: UInt64 = 30_000_000_000
    static let window: UInt64 = 60_000_000_000
    static let deathsMax = 10

    private var deaths: [UInt64] = []

    /// Notes a death; the time of the next start, or nil after too many deaths in too short a time.
    ///
    /// The delay is 200 ms and doubles with each death inside the window, up to 30 s.
    mutating func noteDeath(at now: UInt64) -> UInt64? {
        deaths.removeAll { now >= $0 && now - $0 > Self.window }
        deaths.append(now)
        guard deaths.count <= Self.deathsMax else { return nil }
        let doublings = UInt64(deaths.count - 1)
        return now + min(Self.firstDelay << doublings, Self.delayMax)
    }

    /// Forgets everything: somebody asked for a new start.
    mutating func forgive() { deaths = [] }
}
