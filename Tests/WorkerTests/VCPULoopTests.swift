import GuestModel
import Testing
import WireProtocol

@testable import Worker

private let start = GuestVirtualAddress(NopMachine.codeStart)
private let second = GuestVirtualAddress(NopMachine.codeStart + 1)

private let watched: Watchpoint = {
    guard let range = GuestVirtualRange(start: .init(0x1000), byteCount: 8),
        let watchpoint = Watchpoint(.access, range)
    else { preconditionFailure("eight bytes can be watched") }
    return watchpoint
}()

/// The kick's handler belongs to the whole process, so one test at a time.
@Suite(.serialized) struct VCPULoopTests {
    @Test func `a stub that connects while the guest runs is heard`() throws {
        let bench = try WorkerBench()
        bench.start([NopMachine.wait, NopMachine.wait, NopMachine.wait, 0xF4])
        try bench.waitFor(.running)
        let stub = try bench.connectStub()
        // Whatever kick the connection caused, this request needs one of its own.
        #expect(try stub.attach() == .attached)
    }

    @Test func `a stub that dies while it attaches leaves the guest running`() throws {
        let bench = try WorkerBench()
        do {
            let stub = try bench.connectStub()
            stub.send(.attach)
        }
        bench.start([0x90, 0xF4])
        try bench.waitFor(.finished)
    }

    @Test func `a stub that dies while it attaches leaves a held guest held`() throws {
        let bench = try WorkerBench()
        do {
            let stub = try bench.connectStub()
            stub.send(.attach)
        }
        bench.start([0x90, 0xF4], .held)
        try bench.waitFor(.waiting)
        let next = try bench.connectStub()
        #expect(try next.attach() == .entryPoint)
    }

    @Test func `a stub without a client cannot stop the guest`() throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start([NopMachine.wait, NopMachine.wait, NopMachine.wait, 0xF4])
        try bench.waitFor(.running)
        stub.send(.interrupt)
        // Had it stopped, the reason would still be the interrupt.
        #expect(try stub.attach() == .attached)
    }

    @Test func `many requests of a stub need no more than one kick`() throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        for _ in 0..<100 { stub.send(.readMemory(start, byteCount: 1)) }
        stub.send(.attach)
        bench.start([NopMachine.wait, 0xF4])
        for _ in 0..<100 { #expect(try stub.reply() == .refused(.running)) }
        guard case .attached = try stub.reply() else {
            Issue.record("not attached")
            return
        }
        #expect(try stub.stop() == .attached)
    }

    @Test(arguments: [BreakpointKind.software, .hardware])
    func `a HLT under a breakpoint still halts`(kind: BreakpointKind) throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start([0x90, 0xF4, 0x90, 0xCC], .held)
        #expect(try stub.attach() == .entryPoint)
        #expect(try stub.ask(.insertBreakpoint(kind, second)) == .done)
        stub.send(.resume(.continue))
        #expect(try stub.stop() == .breakpoint(kind, second))
        stub.send(.resume(.continue))
        #expect(try stub.reply() == .ended(.finished))
    }

    @Test func `a breakpoint that the driver refuses leaves no trace`() throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start([0x90, 0x90, 0xF4], .held, capabilities: [.singleStep])
        #expect(try stub.attach() == .entryPoint)
        let refused = try stub.ask(.insertBreakpoint(.hardware, start))
        #expect(refused == .refused(.notSupported))
        #expect(try stub.ask(.insertBreakpoint(.software, second)) == .done)
        stub.send(.resume(.continue))
        #expect(try stub.stop() == .softwareBreakpoint(second))
    }

    @Test func `a lost client resumes the guest, and its breakpoints are gone`() throws {
        let bench = try WorkerBench()
        bench.start([0x90, 0x90, 0xF4], .held)
        do {
            let stub = try bench.connectStub()
            #expect(try stub.attach() == .entryPoint)
            #expect(try stub.ask(.insertBreakpoint(.software, second)) == .done)
            #expect(try stub.ask(.readMemory(start, byteCount: 3)) == .memory([0x90, 0x90, 0xF4]))
        }
        try bench.waitFor(.finished)
    }

    @Test func `a client that leaves a running guest stopped finds it so again`() throws {
        let bench = try WorkerBench()
        bench.start([UInt8](repeating: NopMachine.wait, count: 16) + [0xF4], .held)
        let stub = try bench.connectStub()
        #expect(try stub.attach() == .entryPoint)
        stub.send(.resume(.continue))
        #expect(try stub.ask(.detach(.leaveStopped)) == .done)
        try bench.waitFor(.stoppedByDebugger)
        #expect(try stub.attach() == .interrupted)
    }

    @Test func `a guest whose registers cannot be read loses its breakpoints all the same`()
        throws
    {
        let bench = try WorkerBench()
        let machine = NopMachine()
        bench.start(
            image: NopMachine.image([NopMachine.wait, 0x90, 0xF4]), .held
        ) { machine }
        let stub = try bench.connectStub()
        #expect(try stub.attach() == .entryPoint)
        let last = GuestVirtualAddress(start.rawValue + 2)
        #expect(try stub.ask(.insertBreakpoint(.software, last)) == .done)
        machine.isUnreadable = true
        stub.send(.resume(.continue))
        stub.send(.detach(.asConfigured))
        #expect(try stub.reply() == .done)
        try bench.waitFor(.failed)
        #expect(machine.byte(at: last) == 0xF4)
    }

    @Test(arguments: [0xFF, 0x3FF] as [UInt64])
    func `a step leaves no trap flag in what the guest pushes, but for the guest's own`(
        flags: UInt64
    ) throws {
        let session = try GuestSession(NopMachine.image([0x9C, 0x90, 0xF4])) { NopMachine() }
        session.state.general.rflags = flags
        try #expect(session.stub.ask(.writeRegisters(session.state.general)) == .done)
        // The instruction is to be known under a breakpoint too.
        try #expect(session.insert(.software, start.rawValue) == .done)
        try #expect(session.resume(.step) == .stepped)
        try #expect(
            session.read(session.state.general.rsp) == [0xFF, UInt8(flags >> 8), 0, 0, 0, 0, 0, 0])
    }

    @Test func `an int3 of the guest's own that nobody waits for is a crash where it comes out`()
        throws
    {
        let bench = try WorkerBench()
        bench.start([0x90, 0xCC, 0xF4])
        while true {
            guard case .state(let state, let text) = try bench.notice(), state != .running else {
                continue
            }
            #expect(state == .failed)
            #expect(text.contains("int3 without a debugger"), "\(text)")
            return
        }
    }

    @Test func `a range step ends at the end of its range`() throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start([0x90, 0x90, 0x90, 0xF4], .held)
        #expect(try stub.attach() == .entryPoint)
        let end = GuestVirtualAddress(start.rawValue + 2)
        stub.send(.resume(.stepRange(start: start, end: end)))
        guard case .stopped(let event) = try stub.reply() else {
            Issue.record("no stop")
            return
        }
        #expect(event.reason == .stepped)
        #expect(event.state.general.rip == end.rawValue)
    }

    @Test(arguments: [ResumeMode.continue, .step, .stepRange(start: start, end: .init(.max))])
    func `a use of watched memory stops the guest behind it`(_ mode: ResumeMode) throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start(
            [NopMachine.use, 0x90, 0xF4], .held, capabilities: [.complete, .watchpoints])
        #expect(try stub.attach() == .entryPoint)
        #expect(try stub.ask(.insertWatchpoint(watched)) == .done)
        // The use comes before what else would stop there.
        #expect(try stub.ask(.insertBreakpoint(.hardware, second)) == .done)
        stub.send(.resume(mode))
        guard case .stopped(let event) = try stub.reply() else {
            Issue.record("no stop")
            return
        }
        #expect(event.reason == .watchpoint(.access, watched.range.start))
        #expect(event.state.general.rip == second.rawValue)
    }

    @Test(arguments: [BreakpointKind.software, .hardware])
    func `an instruction under a breakpoint may use watched memory`(_ kind: BreakpointKind) throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start(
            [0x90, NopMachine.use, 0xF4], .held, capabilities: [.complete, .watchpoints])
        #expect(try stub.attach() == .entryPoint)
        #expect(try stub.ask(.insertWatchpoint(watched)) == .done)
        #expect(try stub.ask(.insertBreakpoint(kind, second)) == .done)
        stub.send(.resume(.continue))
        #expect(try stub.stop() == .breakpoint(kind, second))
        stub.send(.resume(.continue))
        #expect(try stub.stop() == .watchpoint(.access, watched.range.start))
        stub.send(.resume(.continue))
        #expect(try stub.reply() == .ended(.finished))
    }

    @Test func `watches are taken out and go with their client`() throws {
        let bench = try WorkerBench()
        bench.start(
            [NopMachine.use, NopMachine.use, 0xF4], .held,
            capabilities: [.complete, .watchpoints])
        do {
            let stub = try bench.connectStub()
            #expect(try stub.attach() == .entryPoint)
            #expect(try stub.ask(.removeWatchpoint(watched)) == .done)
            #expect(try stub.ask(.insertWatchpoint(watched)) == .done)
            #expect(try stub.ask(.removeWatchpoint(watched)) == .done)
            stub.send(.resume(.step))
            #expect(try stub.stop() == .stepped)
            #expect(try stub.ask(.insertWatchpoint(watched)) == .done)
        }
        try bench.waitFor(.finished)
    }

    @Test func `a driver without watches refuses them`() throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        bench.start([0x90, 0xF4], .held)
        #expect(try stub.attach() == .entryPoint)
        #expect(try stub.ask(.insertWatchpoint(watched)) == .refused(.notSupported))
        #expect(try stub.ask(.removeWatchpoint(watched)) == .done)
    }

    @Test(
        arguments: [
            ([.complete, .avx], true, true), ([.complete, .avx], false, false),
            (.complete, true, false),
        ] as [(DriverCapabilities, Bool, Bool)])
    func `a client is told of AVX when the guest has it on`(
        _ capabilities: DriverCapabilities, _ isOn: Bool, _ isTold: Bool
    ) throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        let extended = ExtendedState(
            fxsave: [UInt8](repeating: 0, count: 512),
            upperYMM: isOn ? [UInt8](repeating: 0, count: 256) : nil)
        bench.start([0x90, 0xF4], .held, capabilities: capabilities, extended: extended)
        guard case .attached(let facts) = try stub.ask(.attach) else {
            Issue.record("not attached")
            return
        }
        #expect(facts.capabilities.contains(.avx) == isTold)
        #expect(facts.capabilities.isSuperset(of: .complete))
    }

    @Test func `a kernel GS base that is not canonical is refused`() throws {
        let bench = try WorkerBench()
        let stub = try bench.connectStub()
        let zeros = [UInt8](repeating: 0, count: 512)
        bench.start([0x90, 0xF4], .held, extended: ExtendedState(fxsave: zeros, kernelGSBase: 1))
        #expect(try stub.attach() == .entryPoint)
        for (base, reply) in [(1 << 47, .refused(.invalid)), (UInt64.max, .done)]
            as [(UInt64, DebugReply)]
        {
            let extended = ExtendedState(fxsave: zeros, kernelGSBase: base)
            var general = RegisterFile()
            general.rip = start.rawValue
            let write = StateWrite(
                general: general, fsBase: 0, gsBase: 0, cr2: 0, extended: extended)
            #expect(try stub.ask(.writeState(write)) == reply)
        }
        let read = ExtendedState(fxsave: zeros, kernelGSBase: .max)
        #expect(try stub.ask(.readExtendedState) == .extendedState(read))
    }

    @Test func `a time to wait that cannot be counted is for ever`() throws {
        let bench = try WorkerBench()
        var settings = WorkerSettings.held
        // In nanoseconds this is 2^64 and a little.
        settings.waitTimeoutMilliseconds = 18_446_744_073_710
        bench.start([0x90, 0xF4], settings)
        try bench.waitFor(.waiting)
        let stub = try bench.connectStub()
        #expect(try stub.attach() == .entryPoint)
    }
}
