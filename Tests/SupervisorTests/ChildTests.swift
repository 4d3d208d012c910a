import LinuxSystem
import Testing
import WireProtocol

@testable import Supervisor

struct ChildTests {
    @Test
    func `a child that closes its control socket has two seconds to end`() throws {
        let stub = try StubDouble()
        let child = stub.child
        child.greeted()
        try #expect(child.notices(StubNotice.self).isEmpty)
        #expect(!child.isLost && child.deadline == nil)
        stub.closePeer()
        // A child that another test is just starting has a copy of the other end until its exec.
        var control = PollSet([child.descriptors[1]])
        #expect(control.wait(milliseconds: 5000) == 1)
        try #expect(child.notices(StubNotice.self).isEmpty)
        #expect(child.isLost)
        #expect(child.descriptors.count == 1)
        let deadline = try #require(child.deadline)
        #expect(deadline <= monotonicNanoseconds() + Child.endingNanoseconds)
        child.leave(StubOrder.stop, within: Child.leavingNanoseconds)
        try #expect(child.notices(StubNotice.self).isEmpty)
        #expect(child.deadline == deadline)
    }

    @Test
    func `last words are heard before the end is`() throws {
        let stub = try StubDouble()
        for number in 0..<3 {
            #expect(stub.say(StubNotice.log(.info, "\(number)")))
        }
        stub.closePeer()
        try #expect(stub.child.notices(StubNotice.self).count == 3)
    }

    @Test
    func `a child that says too much is heard in turns, and rests between them`() throws {
        let stub = try StubDouble()
        let child = stub.child
        var sent = 0
        while sent < 100, stub.say(StubNotice.log(.info, "x")) { sent += 1 }
        #expect(sent > 64)
        let heard = try child.notices(StubNotice.self).count
        #expect(heard == 64)
        #expect(child.isTurnFull)
        child.rest(at: 1000)
        #expect(!child.isHeard(at: 1001))
        #expect(child.descriptors.count == 1)
        #expect(child.isHeard(at: 1000 + 20_000_000))
        #expect(child.descriptors.count == 3)
        try #expect(child.notices(StubNotice.self).count == sent - 64)
        #expect(!child.isTurnFull)
    }

    @Test
    func `a turn is over after 64 KiB, in however few messages`() throws {
        let stub = try StubDouble()
        let text = String(repeating: "x", count: 8192)
        var sent = 0
        while sent < 12, stub.say(StubNotice.log(.info, text)) { sent += 1 }
        #expect(sent == 12)
        try #expect(stub.child.notices(StubNotice.self).count == 8)
        #expect(stub.child.isTurnFull)
        try #expect(stub.child.notices(StubNotice.self).count == 4)
        #expect(!stub.child.isTurnFull)
    }

    @Test
    func `a frame that is none is an error`() throws {
        let stub = try StubDouble()
        #expect(stub.say([1, 2, 3]))
        #expect(throws: WireError.self) { try stub.child.notices(StubNotice.self) }
    }
}
