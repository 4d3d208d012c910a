import Testing

@testable import Supervisor

struct HeartbeatTests {
    private static let second: UInt64 = 1_000_000_000

    @Test func `nothing is asked of a child that has not begun`() {
        var heartbeat = Heartbeat()
        #expect(heartbeat.nextLook == nil)
        #expect(heartbeat.beat(at: .max) == .nothing)
        #expect(heartbeat.answered(1, at: 0) == .nothing)
    }

    @Test func `a child that answers is asked once a second`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        var now = Self.second - 1
        #expect(heartbeat.beat(at: now) == .nothing)
        for number in 1...3 as ClosedRange<UInt32> {
            now += 1
            #expect(heartbeat.nextLook == now)
            #expect(heartbeat.beat(at: now) == .ask(number))
            #expect(heartbeat.beat(at: now) == .nothing)
            #expect(heartbeat.answered(number, at: now + 7) == .nothing)
            now += 7 + Self.second - 1
            #expect(heartbeat.beat(at: now) == .nothing)
        }
    }

    /// What a beat a second says of a child that was first asked at second 1.
    private func beats(_ seconds: ClosedRange<UInt64>, _ heartbeat: inout Heartbeat)
        -> [Heartbeat.Action]
    {
        seconds.map { heartbeat.beat(at: $0 * Self.second) }
    }

    @Test func `a silent child is degraded after five seconds and killed after ten`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        #expect(beats(1...5, &heartbeat) == (1...5).map { .ask($0) })
        #expect(heartbeat.beat(at: 6 * Self.second - 1) == .nothing)
        #expect(!heartbeat.isDegraded)
        #expect(beats(6...10, &heartbeat) == [.warn] + (6...9).map { .ask($0) })
        #expect(heartbeat.isDegraded)
        #expect(beats(11...12, &heartbeat) == [.kill, .nothing])
        #expect(heartbeat.nextLook == nil)
        #expect(heartbeat.beat(at: .max) == .nothing)
    }

    @Test(arguments: [1, 3, 6] as [UInt32])
    func `an answer to any open question is a sign of life`(_ number: UInt32) {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        #expect(beats(1...7, &heartbeat).last == .ask(6))
        #expect(heartbeat.answered(0, at: 7 * Self.second) == .nothing)
        #expect(heartbeat.answered(7, at: 7 * Self.second) == .nothing)
        #expect(heartbeat.isDegraded)
        #expect(heartbeat.answered(number, at: 7 * Self.second) == .recovered)
        #expect(!heartbeat.isDegraded)
        #expect(heartbeat.answered(number, at: 7 * Self.second) == .nothing)
        #expect(beats(8...9, &heartbeat) == [.ask(7), .ask(8)])
        // Those of before count no more.
        #expect(heartbeat.answered(6, at: 9 * Self.second) == .nothing)
    }

    @Test func `time in which the supervisor itself stood still does not count`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        #expect(beats(1...4, &heartbeat) == (1...4).map { .ask($0) })
        #expect(
            beats(64...70, &heartbeat)
                == [.ask(5), .warn, .ask(6), .ask(7), .ask(8), .ask(9), .kill])
    }

    @Test func `beginning twice gives no more time`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        heartbeat.begin(at: 900_000_000)
        #expect(heartbeat.nextLook == Self.second)
    }

    @Test func `a child may be given time, and beginning again takes it back`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0, after: 60 * Heartbeat.interval)
        #expect(heartbeat.nextLook == 60 * Heartbeat.interval)
        heartbeat.begin(at: 2 * Heartbeat.interval)
        #expect(heartbeat.nextLook == 3 * Heartbeat.interval)
        heartbeat.begin(at: 2 * Heartbeat.interval, after: 60 * Heartbeat.interval)
        #expect(heartbeat.nextLook == 3 * Heartbeat.interval)
    }
}
