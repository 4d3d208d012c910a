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

    @Test func `a child that answers is asked once a second, one question at a time`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        var now = Self.second - 1
        #expect(heartbeat.beat(at: now) == .nothing)
        for number in 1...3 as ClosedRange<UInt32> {
            now += 1
            #expect(heartbeat.nextLook == now)
            #expect(heartbeat.beat(at: now) == .ask(number))
            #expect(heartbeat.beat(at: now + Self.second) == .nothing)
            #expect(heartbeat.answered(number, at: now + 7) == .nothing)
            now += 7 + Self.second - 1
            #expect(heartbeat.beat(at: now) == .nothing)
        }
    }

    @Test func `a silent child is degraded after five seconds and killed after ten`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        let asked = Self.second
        #expect(heartbeat.beat(at: asked) == .ask(1))
        #expect(heartbeat.beat(at: asked + 5 * Self.second - 1) == .nothing)
        #expect(!heartbeat.isDegraded)
        #expect(heartbeat.beat(at: asked + 5 * Self.second) == .warn)
        #expect(heartbeat.isDegraded)
        #expect(heartbeat.beat(at: asked + 10 * Self.second - 1) == .nothing)
        #expect(heartbeat.beat(at: asked + 10 * Self.second) == .kill)
        #expect(heartbeat.nextLook == nil)
        #expect(heartbeat.beat(at: .max) == .nothing)
    }

    @Test func `a late answer ends the trouble, a wrong one does not`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        #expect(heartbeat.beat(at: Self.second) == .ask(1))
        #expect(heartbeat.beat(at: 6 * Self.second) == .warn)
        #expect(heartbeat.answered(0, at: 7 * Self.second) == .nothing)
        #expect(heartbeat.answered(2, at: 7 * Self.second) == .nothing)
        #expect(heartbeat.isDegraded)
        #expect(heartbeat.answered(1, at: 7 * Self.second) == .recovered)
        #expect(!heartbeat.isDegraded)
        #expect(heartbeat.answered(1, at: 7 * Self.second) == .nothing)
        #expect(heartbeat.beat(at: 8 * Self.second) == .ask(2))
    }

    @Test func `beginning twice gives no more time`() {
        var heartbeat = Heartbeat()
        heartbeat.begin(at: 0)
        heartbeat.begin(at: 900_000_000)
        #expect(heartbeat.nextLook == Self.second)
    }
}
