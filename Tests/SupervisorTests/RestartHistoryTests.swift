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
    func `the delay doubles from 200 ms to 30 s, the eleventh death is one too many`() {
        var history = RestartHistory()
        let expected: [UInt64?] = [
            200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, nil, nil,
        ]
        #expect(delays(12, &history, at: 7) == expected)
    }

    @Test
    func `deaths of more than a minute ago do not count`() {
        var history = RestartHistory()
        #expect(delays(10, &history, at: 0).last == 30000)
        #expect(delays(1, &history, at: 60 * Self.second) == [nil])
        #expect(delays(1, &history, at: 60 * Self.second + 1) == [400])
        #expect(delays(1, &history, at: 121 * Self.second) == [200])
    }

    @Test
    func `one death a minute is never too often`() {
        var history = RestartHistory()
        for minute in 0..<100 as Range<UInt64> {
            #expect(delays(1, &history, at: minute * 61 * Self.second) == [200])
        }
    }

    @Test
    func `a policy of one's own has its own first delay, longest delay and number`() {
        var history = RestartHistory(
            RestartPolicy(
                firstDelay: Self.second, delayMax: 3 * Self.second, window: 10 * Self.second,
                deathsMax: 4))
        #expect(delays(5, &history, at: 0) == [1000, 2000, 3000, 3000, nil])
        #expect(history.recentDeaths == 5)
        #expect(delays(1, &history, at: 10 * Self.second + 1) == [1000])
    }

    private static let chances: [(UInt64, UInt64)] = [
        (0, 180), (100, 200), (200, 220), (201, 180), (.max, 180 + .max % 201 / 5),
    ]

    @Test(arguments: chances)
    func `chance moves a delay by a tenth at most`(_ random: UInt64, _ expected: UInt64) {
        var history = RestartHistory()
        let start = history.noteDeath(at: 5, random: random)
        #expect(start.map { ($0 - 5) / 1_000_000 } == expected)
    }

    @Test
    func `forgiving begins anew, and a clock that went back is no trap`() {
        var history = RestartHistory()
        #expect(delays(11, &history, at: 5 * Self.second).last == .some(nil))
        history.forgive()
        #expect(delays(2, &history, at: 5 * Self.second) == [200, 400])
        #expect(delays(1, &history, at: 0) == [800])
    }
}
