import SandboxConfig
import Testing

@testable import Supervisor

struct RestartHistoryTests {
    private static let second: UInt64 = 1_000_000_000

    /// The delays in milliseconds after this many deaths at the same moment; nil is giving up.
    private func delays(_ count: Int, _ history: inout RestartHistory, at now: UInt64) -> [UInt64?]
    {
        (0..<count).map { _ in history.noteDeath(at: now).map { ($0 - now) / 1_000_000 } }
    }

    @Test
    func `a stub's delay doubles from 200 ms to 5 s, the eleventh death is one too many`() {
        var history = RestartHistory(.stub)
        let expected: [UInt64?] = [
            200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000, 5000, nil, nil,
        ]
        #expect(delays(12, &history, at: 7) == expected)
    }

    @Test
    func `the defaults of the configuration are 200 ms to 30 s, five times in a minute`() {
        var history = RestartHistory(RestartPolicy(RestartSettings()))
        #expect(delays(6, &history, at: 7) == [200, 400, 800, 1600, 3200, nil])
        #expect(history.policy.delayMax == 30 * Self.second)
        #expect(history.policy.window == 60 * Self.second)
    }

    /// What dies as soon as it is there, and how many seconds it takes until it is given up.
    private static let hopeless: [(RestartPolicy, ClosedRange<Double>)] = [
        (.stub, 31...32), (RestartPolicy(RestartSettings()), 6...7),
    ]

    @Test(arguments: hopeless)
    func `what dies at once each time is given up`(
        _ policy: RestartPolicy, _ expected: ClosedRange<Double>
    ) {
        var history = RestartHistory(policy)
        var now: UInt64 = 0
        for _ in 0...policy.deathsMax {
            guard let start = history.noteDeath(at: now) else { break }
            now = start
        }
        #expect(history.noteDeath(at: now) == nil)
        #expect(expected.contains(Double(now) / Double(Self.second)))
    }

    private static let slow = RestartPolicy(
        firstDelay: second, delayMax: 8 * second, window: 10 * second, deathsMax: 4)

    @Test
    func `the delay goes on doubling until one has lived for a window`() {
        var history = RestartHistory(Self.slow)
        var now: UInt64 = 0
        for expected in [1, 2, 4, 8, 8] as [UInt64] {
            let start = history.noteDeath(at: now)
            #expect(start == now + expected * Self.second)
            // Each lives for nine of the ten seconds.
            now += (expected + 9) * Self.second
        }
        now += Self.second + 1
        #expect(history.noteDeath(at: now) == now + Self.second)
    }

    @Test
    func `deaths of longer ago than the window do not count`() {
        var history = RestartHistory(Self.slow)
        #expect(delays(4, &history, at: 0).last == 8000)
        #expect(delays(1, &history, at: 10 * Self.second) == [nil])
        #expect(history.recentDeaths == 5)
        #expect(delays(1, &history, at: 10 * Self.second + 1) == [8000])
        #expect(history.recentDeaths == 2)
    }

    @Test
    func `one death a minute is never too often`() {
        var history = RestartHistory(.stub)
        for minute in 0..<100 as Range<UInt64> {
            #expect(delays(1, &history, at: minute * 61 * Self.second) == [200])
        }
    }

    private static let chances: [(UInt64, UInt64)] = [
        (0, 180), (100, 200), (200, 220), (201, 180), (.max, 180 + .max % 201 / 5),
    ]

    @Test(arguments: chances)
    func `chance moves a delay by a tenth at most`(_ random: UInt64, _ expected: UInt64) {
        var history = RestartHistory(.stub)
        let start = history.noteDeath(at: 5, random: random)
        #expect(start.map { ($0 - 5) / 1_000_000 } == expected)
    }

    @Test
    func `forgiving begins anew, and a clock that went back is no trap`() {
        var history = RestartHistory(.stub)
        #expect(delays(11, &history, at: 5 * Self.second).last == .some(nil))
        history.forgive()
        #expect(delays(2, &history, at: 5 * Self.second) == [200, 400])
        #expect(delays(1, &history, at: 0) == [800])
    }
}
