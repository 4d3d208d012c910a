import GuestModel
import LinuxSystem
import Testing
import WireProtocol

@testable import Worker

private let second = GuestVirtualAddress(NopMachine.codeStart + 1)

extension VCPULoopTests {
    /// Requests of a stub that is broken or hostile (F16 of the failure matrix): its connection is
    /// closed, and the guest goes on with its own code.
    @Suite(.serialized) struct BrokenRequests {
        /// A guest that stands at its entry point, with a breakpoint on its second instruction.
        private func withStoppedGuest(_ body: (WorkerBench, StubEnd) throws -> Void) throws {
            let bench = try WorkerBench()
            let stub = try bench.connectStub()
            bench.start([0x90, 0x90, 0xF4], .held)
            try #require(try stub.attach() == .entryPoint)
            try #require(try stub.ask(.insertBreakpoint(.software, second)) == .done)
            try body(bench, stub)
            // Over a breakpoint that is still there it would crash.
            try bench.waitFor(.finished)
        }

        /// Sends one frame; nanoseconds until the connection was closed.
        private func closingTime(_ frame: [UInt8]) throws -> UInt64 {
            var time: UInt64 = 0
            try withStoppedGuest { _, stub in
                let start = monotonicNanoseconds()
                stub.send(raw: frame)
                try stub.waitForEnd()
                time = monotonicNanoseconds() - start
            }
            return time
        }

        struct Broken: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let frame: [UInt8]
        }

        static let broken: [Broken] = {
            let read = DebugRequest.readMemory(second, byteCount: 1).encoded()
            var lying = read
            lying[4] = 0xFF
            var flagged = read
            flagged[2] = 1
            var unknown = read
            unknown[0] = 99
            var kindless = DebugRequest.insertBreakpoint(.software, second).encoded()
            kindless[8] = 77
            var greedy = read
            for index in 16..<20 { greedy[index] = 0xFF }
            return [
                Broken(testDescription: "one byte", frame: [1]),
                Broken(testDescription: "half a header", frame: Array(read.prefix(4))),
                Broken(testDescription: "half a request", frame: Array(read.prefix(13))),
                Broken(testDescription: "trailing bytes", frame: read + [0]),
                Broken(testDescription: "a length that lies", frame: lying),
                Broken(testDescription: "a header with spare bits", frame: flagged),
                Broken(testDescription: "an unknown type", frame: unknown),
                Broken(testDescription: "a reply", frame: DebugReply.done.encoded()),
                Broken(testDescription: "a kind that is none", frame: kindless),
                Broken(testDescription: "4 GiB of memory", frame: greedy),
                Broken(
                    testDescription: "a frame above the limit",
                    frame: [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)),
                Broken(
                    testDescription: "a frame far above the limit",
                    frame: [UInt8](repeating: 0, count: 200_000)),
            ]
        }()

        @Test(arguments: broken)
        func `F16: a malformed request closes the connection and frees the guest`(
            _ broken: Broken
        ) throws {
            let time = try closingTime(broken.frame)
            print("F16:", broken.testDescription, "- closed after", time / 1000, "us")
        }

        @Test
        func `F16: random requests close the connection and free the guest`() throws {
            let seed = UInt64.random(in: 1 ... .max)
            print("F16: seed", seed)
            var random = Xorshift(state: seed)
            var times: [UInt64] = []
            while times.count < 100 {
                var frame = (0..<Int(random.next() % 64)).map { _ in
                    UInt8(truncatingIfNeeded: random.next())
                }
                // Half of them get past the header.
                if random.next() % 2 == 0, frame.count >= 8 {
                    frame.replaceSubrange(
                        0..<8,
                        with: [
                            UInt8(random.next() % 12), 0, 0, 0, UInt8(frame.count - 8), 0, 0, 0,
                        ])
                }
                // A message of no bytes cannot be told from the end.
                guard !frame.isEmpty, (try? DebugRequest(frame: frame)) == nil else { continue }
                times.append(try closingTime(frame))
            }
            times.sort()
            print(
                "F16: 100 random requests, closed after p50", times[50] / 1000, "us, max",
                times[99] / 1000, "us")
        }

        @Test
        func `F16: requests out of turn are refused, and the session goes on`() throws {
            try withStoppedGuest { _, stub in
                // Two that wait for the same reply, a second session, an interrupt of what stands.
                stub.send(.readMemory(second, byteCount: 1))
                stub.send(.readMemory(second, byteCount: 1))
                stub.send(.interrupt)
                for _ in 0..<2 { try #expect(stub.reply() == .memory([0x90])) }
                stub.send(.resume(.step))
                try #expect(stub.stop() == .stepped)
                // One that runs on would end before the next question.
                try #expect(stub.ask(.detach(.leaveStopped)) == .done)
                try #expect(stub.ask(.readMemory(second, byteCount: 1)) == .refused(.running))
                try #expect(stub.ask(.resume(.continue)) == .refused(.running))
                try #expect(stub.attach() == .stepped)
                try #expect(stub.ask(.detach(.asConfigured)) == .done)
            }
        }

        @Test
        func `F16: a stub that asks and never reads is left, and the guest goes on`() throws {
            try withStoppedGuest { _, stub in
                let start = monotonicNanoseconds()
                let request = DebugRequest.readMemory(second, byteCount: 3000).encoded()
                var count = 0
                // Refused when the connection is closed; until then the worker takes them.
                while monotonicNanoseconds() - start < 5_000_000_000 {
                    if stub.send(raw: request) {
                        count += 1
                    } else if stub.isHungUp {
                        break
                    }
                }
                print("F16: left after", count, "requests whose replies nobody read")
                #expect(stub.isHungUp)
            }
        }
    }
}

/// Numbers that look random and come again with the same seed.
private struct Xorshift {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
