import GuestModel
import Testing
import WireProtocol

@testable import Worker

extension VCPULoopTests {
    /// `debug.onCrash`: what becomes of a guest that runs beyond the end of its memory.
    @Suite(.serialized) struct CrashPolicies {
        private static let crash = GuestCrash.unmappedFetch(
            GuestVirtualAddress(NopMachine.codeStart + 0x1000))

        private func settings(_ policy: CrashPolicy, isHeld: Bool = false) -> WorkerSettings {
            var settings = isHeld ? WorkerSettings.held : .plain
            settings.onCrash = policy
            return settings
        }

        @Test func `end: the guest ends at once, and its client is told`() throws {
            let bench = try WorkerBench()
            let stub = try bench.connectStub()
            bench.start([0x90], settings(.end, isHeld: true))
            #expect(try stub.attach() == .entryPoint)
            stub.send(.resume(.continue))
            #expect(try stub.reply() == .ended(.crashed(Self.crash)))
            try bench.waitFor(.failed)
        }

        @Test(arguments: [CrashPolicy.end, .hold])
        func `end and hold: a guest without a client ends at once`(policy: CrashPolicy) throws {
            let bench = try WorkerBench()
            bench.start([0x90], settings(policy))
            try bench.waitFor(.failed)
        }

        @Test func `hold: the guest stays while its client does`() throws {
            let bench = try WorkerBench()
            let stub = try bench.connectStub()
            bench.start([0x90], settings(.hold, isHeld: true))
            #expect(try stub.attach() == .entryPoint)
            stub.send(.resume(.continue))
            #expect(try stub.stop() == .crashed(Self.crash))
            try bench.waitFor(.crashed)
            #expect(try stub.ask(.detach(.leaveStopped)) == .done)
            try bench.waitFor(.failed)
        }

        @Test func `wait: a guest without a client stays for one, which sees the crash`() throws {
            let bench = try WorkerBench()
            bench.start([0x90], settings(.wait))
            try bench.waitFor(.crashed)
            let stub = try bench.connectStub()
            #expect(try stub.attach() == .crashed(Self.crash))
            #expect(
                try stub.ask(
                    .readMemory(GuestVirtualAddress(NopMachine.codeStart), byteCount: 1))
                    == .memory([0x90]))
            // One that leaves it stopped leaves it to the next one.
            #expect(try stub.ask(.detach(.leaveStopped)) == .done)
            #expect(try stub.attach() == .crashed(Self.crash))
            #expect(try stub.ask(.detach(.asConfigured)) == .done)
            try bench.waitFor(.failed)
        }

        @Test func `wait: a client that is lost has gone too`() throws {
            let bench = try WorkerBench()
            bench.start([0x90], settings(.wait))
            try bench.waitFor(.crashed)
            do {
                let stub = try bench.connectStub()
                #expect(try stub.attach() == .crashed(Self.crash))
            }
            try bench.waitFor(.failed)
        }

        @Test func `wait: a client that goes on ends the guest`() throws {
            let bench = try WorkerBench()
            bench.start([0x90], settings(.wait))
            try bench.waitFor(.crashed)
            let stub = try bench.connectStub()
            #expect(try stub.attach() == .crashed(Self.crash))
            stub.send(.resume(.continue))
            #expect(try stub.reply() == .ended(.crashed(Self.crash)))
        }

        @Test(arguments: [(WorkerOrder.stop, SandboxState.stopped), (.resume, .failed)])
        func `wait: the supervisor can end the guest`(order: WorkerOrder, state: SandboxState)
            throws
        {
            let bench = try WorkerBench()
            bench.start([0x90], settings(.wait))
            try bench.waitFor(.crashed)
            bench.order(order)
            try bench.waitFor(state)
        }

        @Test func `breakpoints of a crashed guest can be removed and not inserted`() throws {
            let bench = try WorkerBench()
            let stub = try bench.connectStub()
            let start = GuestVirtualAddress(NopMachine.codeStart)
            bench.start([0x90], settings(.hold, isHeld: true))
            #expect(try stub.attach() == .entryPoint)
            #expect(try stub.ask(.insertBreakpoint(.software, start)) == .done)
            stub.send(.resume(.continue))
            #expect(try stub.stop() == .crashed(Self.crash))
            #expect(try stub.ask(.removeBreakpoint(.software, start)) == .done)
            #expect(try stub.ask(.insertBreakpoint(.software, start)) == .refused(.crashed))
        }
    }
}
