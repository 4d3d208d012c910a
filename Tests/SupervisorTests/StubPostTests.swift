import GuestModel
import Glibc
import Testing

@testable import Supervisor

/// Where a stub's post is before something happens.
private enum Before: CaseIterable {
    case new, held, leavingForAnother, leavingForGood, otherBuild, dead, closed, gaveUp
}

private enum Event {
    case endWhileWanted, endWhileUnwanted, restart, workerEnd, workerBack, leave, anotherBuild
}

/// When the next stub is due.
private enum Next {
    case never, now, later
}

private struct Row: CustomTestStringConvertible {
    let before: Before
    let event: Event
    let door: DebugDoorState
    var next = Next.never
    var outcome: StubPost.Outcome?

    var testDescription: String { "\(before), \(event)" }

    init(
        _ before: Before, _ event: Event, _ door: DebugDoorState, _ next: Next = .never,
        _ outcome: StubPost.Outcome? = nil
    ) {
        (self.before, self.event, self.door) = (before, event, door)
        (self.next, self.outcome) = (next, outcome)
    }

    static let all: [Row] = [
        // A stub that dies is replaced, unless nobody needs one or it would be the same.
        Row(.held, .endWhileWanted, .restarting, .later, .restarts(afterMilliseconds: 200)),
        Row(.held, .endWhileUnwanted, .off, .never, .expected),
        Row(.leavingForAnother, .endWhileWanted, .restarting, .now, .expected),
        Row(.leavingForAnother, .endWhileUnwanted, .off, .never, .expected),
        Row(.leavingForGood, .endWhileWanted, .off, .never, .expected),
        Row(.leavingForGood, .endWhileUnwanted, .off, .never, .expected),
        Row(.otherBuild, .endWhileWanted, .unavailable, .never, .useless),
        Row(.otherBuild, .endWhileUnwanted, .unavailable, .never, .useless),
        // Somebody asks for another one.
        Row(.held, .restart, .restarting),
        Row(.leavingForAnother, .restart, .restarting),
        Row(.otherBuild, .restart, .restarting),
        Row(.dead, .restart, .restarting, .now),
        Row(.closed, .restart, .restarting, .now),
        Row(.gaveUp, .restart, .restarting, .now),
        // The guest is gone.
        Row(.new, .workerEnd, .off),
        Row(.held, .workerEnd, .off),
        Row(.leavingForAnother, .workerEnd, .off),
        Row(.otherBuild, .workerEnd, .off),
        Row(.dead, .workerEnd, .off),
        Row(.gaveUp, .workerEnd, .off),
        Row(.closed, .workerEnd, .unavailable),
        // Another guest comes; while the stub of the last one is leaving, its own has to wait.
        Row(.new, .workerBack, .restarting),
        Row(.held, .workerBack, .restarting),
        Row(.leavingForGood, .workerBack, .restarting),
        Row(.dead, .workerBack, .restarting),
        Row(.gaveUp, .workerBack, .restarting),
        Row(.closed, .workerBack, .restarting),
        // Everything ends.
        Row(.new, .leave, .off),
        Row(.held, .leave, .off),
        Row(.leavingForAnother, .leave, .off),
        Row(.otherBuild, .leave, .off),
        Row(.dead, .leave, .off),
        Row(.gaveUp, .leave, .off),
        Row(.closed, .leave, .unavailable),
        // A greeting that does not fit.
        Row(.held, .anotherBuild, .unavailable),
        Row(.leavingForAnother, .anotherBuild, .unavailable),
        Row(.new, .anotherBuild, .off),
        Row(.closed, .anotherBuild, .unavailable),
    ]
}

struct StubPostTests {
    private static let now: UInt64 = 1_000_000_000_000

    private func post(_ before: Before, _ stub: StubDouble) -> StubPost {
        var post = StubPost()
        switch before {
        case .new: break
        case .closed: post.close(.unavailable)
        case .held: post.begin(stub.child)
        case .leavingForAnother:
            post.begin(stub.child)
            post.restart(at: Self.now)
        case .leavingForGood:
            post.begin(stub.child)
            post.leave()
        case .otherBuild:
            post.begin(stub.child)
            post.giveUp()
        case .dead: _ = post.noteDeath(at: Self.now)
        case .gaveUp: while post.noteDeath(at: Self.now) != .gaveUp {}
        }
        return post
    }

    @Test(arguments: Row.all)
    fileprivate func `a post is as the table says after each event`(row: Row) throws {
        let stub = try StubDouble()
        var post = post(row.before, stub)
        var outcome: StubPost.Outcome?
        switch row.event {
        case .endWhileWanted: outcome = post.ended(isWanted: true, at: Self.now)
        case .endWhileUnwanted: outcome = post.ended(isWanted: false, at: Self.now)
        case .restart: post.restart(at: Self.now)
        case .workerEnd: post.workerIsGone()
        case .workerBack:
            let isFree = post.workerIsBack()
            #expect(isFree == (post.child == nil))
        case .leave: post.leave()
        case .anotherBuild: post.giveUp()
        }
        #expect(post.doorState == row.door)
        #expect(outcome == row.outcome)
        #expect(post.isDue(at: Self.now) == (row.next == .now))
        let isDueSoon = post.isDue(at: Self.now + 30_000_000_000)
        #expect(isDueSoon == (row.next != .never))
    }

    @Test
    func `the client shows in the door's state, and is gone with its stub`() throws {
        let stub = try StubDouble()
        var post = StubPost()
        post.begin(stub.child)
        #expect(post.doorState == .listening)
        post.client = "127.0.0.1:1"
        #expect(post.doorState == .attached)
        let outcome = post.ended(isWanted: true, at: 0)
        #expect(outcome == .restarts(afterMilliseconds: 200))
        #expect(post.client == nil)
    }

    @Test
    func `the eleventh death gives up, a restart by hand forgives all`() throws {
        let stub = try StubDouble()
        var post = StubPost()
        for _ in 0..<10 {
            post.begin(stub.child)
            _ = post.ended(isWanted: true, at: Self.now)
        }
        post.begin(stub.child)
        let last = post.ended(isWanted: true, at: Self.now)
        #expect(last == .gaveUp)
        #expect(post.doorState == .unavailable)
        post.restart(at: Self.now)
        post.begin(stub.child)
        let outcome = post.ended(isWanted: true, at: Self.now)
        #expect(outcome == .restarts(afterMilliseconds: 200))
    }

    @Test
    func `another guest forgives the stubs of the last one`() throws {
        let stub = try StubDouble()
        var post = post(.gaveUp, stub)
        _ = post.workerIsBack()
        post.begin(stub.child)
        let outcome = post.ended(isWanted: true, at: Self.now)
        #expect(outcome == .restarts(afterMilliseconds: 200))
    }

    @Test
    func `a stub that was asked to leave has five seconds, asked twice no more`() throws {
        let stub = try StubDouble()
        stub.child.greeted()
        #expect(stub.child.deadline == nil)
        var post = StubPost()
        post.begin(stub.child)
        post.restart(at: Self.now)
        let deadline = try #require(stub.child.deadline)
        post.restart(at: Self.now)
        post.workerIsGone()
        #expect(stub.child.deadline == deadline)
    }
}
