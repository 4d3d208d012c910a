import GuestModel
import Testing
import WireProtocol

@testable import Worker

private let start = GuestVirtualAddress(NopMachine.codeStart)
private let place = GuestPhysicalAddress(NopMachine.codeStart)

extension VCPULoopTests {
    /// What a client may ask of the guest as a whole.
    @Suite(.serialized) struct GuestRequests {
        /// A guest that stands at its entry point.
        private func withGuest(
            _ code: [UInt8] = [0x90, 0x90, 0xF4], _ settings: WorkerSettings = .held,
            _ body: (WorkerBench, StubEnd) throws -> Void
        ) throws {
            let bench = try WorkerBench()
            let stub = try bench.connectStub()
            bench.start(code, settings)
            try #require(try stub.attach() == .entryPoint)
            try body(bench, stub)
        }

        // MARK: Physical memory

        @Test func `physical memory is read with the bytes under breakpoints`() throws {
            try withGuest { _, stub in
                try #expect(stub.ask(.insertBreakpoint(.software, start)) == .done)
                let request = DebugRequest.readPhysicalMemory(place, byteCount: 3)
                try #expect(stub.ask(request) == .memory([0x90, 0x90, 0xF4]))
            }
        }

        @Test func `physical memory is written under breakpoints`() throws {
            // Without the HLT that is written it would run to the end of memory.
            try withGuest([0x90, 0x90]) { _, stub in
                let second = GuestVirtualAddress(NopMachine.codeStart + 1)
                try #expect(stub.ask(.insertBreakpoint(.software, second)) == .done)
                try #expect(stub.ask(.writePhysicalMemory(place, [0x55, 0xF4])) == .done)
                stub.send(.resume(.continue))
                try #expect(stub.stop() == .softwareBreakpoint(second))
                let request = DebugRequest.readMemory(start, byteCount: 2)
                try #expect(stub.ask(request) == .memory([0x55, 0xF4]))
                try #expect(stub.ask(.removeBreakpoint(.software, second)) == .done)
                stub.send(.resume(.continue))
                try #expect(stub.reply() == .ended(.finished))
            }
        }

        @Test func `the end of memory makes a read short and a write impossible`() throws {
            try withGuest { _, stub in
                let last = GuestPhysicalAddress(NopMachine.codeStart + 0xFFE)
                let read = DebugRequest.readPhysicalMemory(last, byteCount: 8)
                try #expect(stub.ask(read) == .memory([0, 0]))
                try #expect(
                    stub.ask(.writePhysicalMemory(last, [1, 2, 3])) == .refused(.notMapped))
                try #expect(stub.ask(read) == .memory([0, 0]))
                try #expect(stub.ask(.writePhysicalMemory(last, [1, 2])) == .done)
                try #expect(stub.ask(read) == .memory([1, 2]))
                for address in [0, NopMachine.codeStart - 1, .max] as [UInt64] {
                    let nowhere = GuestPhysicalAddress(address)
                    try #expect(
                        stub.ask(.readPhysicalMemory(nowhere, byteCount: 8))
                            == .refused(.notMapped))
                    try #expect(
                        stub.ask(.writePhysicalMemory(nowhere, [1, 2]))
                            == .refused(.notMapped))
                }
            }
        }

        // MARK: Regions

        @Test func `regions have names, and holes reach to their neighbours`() throws {
            try withGuest { _, stub in
                let code = MappedRegion(
                    start: start, last: GuestVirtualAddress(NopMachine.codeStart + 0xFFF),
                    permissions: .all, name: "image")
                try #expect(stub.ask(.describeRegion(start)) == code.map(DebugReply.region))
                guard
                    case .region(let below) = try stub.ask(
                        .describeRegion(GuestVirtualAddress(0))),
                    case .region(let top) = try stub.ask(
                        .describeRegion(GuestVirtualAddress(.max)))
                else {
                    Issue.record("no regions")
                    return
                }
                #expect(below.last.rawValue == NopMachine.codeStart - 1)
                #expect(below.permissions == nil)
                #expect(top.start.rawValue == 1 << 36)
                #expect(top.last.rawValue == .max)
            }
        }

        // MARK: A new start

        @Test func `a guest that is started anew stands at its entry point without breakpoints`()
            throws
        {
            try withGuest { bench, stub in
                let second = GuestVirtualAddress(NopMachine.codeStart + 1)
                try #expect(stub.ask(.insertBreakpoint(.software, second)) == .done)
                try #expect(stub.ask(.insertBreakpoint(.hardware, second)) == .done)
                try #expect(stub.ask(.writeMemory(start, [0xF4])) == .done)
                let scratch = GuestPhysicalAddress((1 << 36) - 16)
                try #expect(stub.ask(.writePhysicalMemory(scratch, [1])) == .done)
                stub.send(.resume(.step))
                try #expect(stub.reply() == .ended(.finished))
            }
            try withGuest { bench, stub in
                let second = GuestVirtualAddress(NopMachine.codeStart + 1)
                try #expect(stub.ask(.insertBreakpoint(.software, second)) == .done)
                try #expect(stub.ask(.insertBreakpoint(.hardware, second)) == .done)
                stub.send(.resume(.step))
                try #expect(stub.stop() == .stepped)
                try #expect(stub.ask(.writeMemory(start, [0x90, 0x90, 0x90])) == .done)
                let scratch = GuestPhysicalAddress((1 << 36) - 16)
                try #expect(stub.ask(.writePhysicalMemory(scratch, [1])) == .done)
                try #expect(stub.ask(.restartGuest) == .done)
                guard case .stopped(let event) = try stub.reply() else {
                    Issue.record("no stop")
                    return
                }
                #expect(event.reason == .entryPoint)
                #expect(event.state.general.rip == start.rawValue)
                try #expect(
                    stub.ask(.readMemory(start, byteCount: 3)) == .memory([0x90, 0x90, 0xF4]))
                try #expect(
                    stub.ask(.readPhysicalMemory(scratch, byteCount: 1)) == .memory([0]))
                stub.send(.resume(.continue))
                try #expect(stub.reply() == .ended(.finished))
            }
        }

        @Test func `a guest that crashed is sound after a new start`() throws {
            try withGuest([0x90]) { bench, stub in
                stub.send(.resume(.continue))
                guard case .crashed? = try stub.stop() else {
                    Issue.record("no crash")
                    return
                }
                try #expect(stub.ask(.writeMemory(start, [0xF4])) == .refused(.crashed))
                try #expect(stub.ask(.restartGuest) == .done)
                try #expect(stub.stop() == .entryPoint)
                try bench.waitFor(.stoppedByDebugger)
                try #expect(stub.ask(.writeMemory(start, [0xF4])) == .done)
                stub.send(.resume(.continue))
                try #expect(stub.reply() == .ended(.finished))
            }
        }

        @Test func `a guest that runs is not started anew`() throws {
            let bench = try WorkerBench()
            let stub = try bench.connectStub()
            // One for each request that may kick it, and more.
            bench.start([UInt8](repeating: NopMachine.wait, count: 64) + [0xF4], .plain)
            for request in [
                DebugRequest.restartGuest, .describeRegion(start), .inspect(.status),
                .readPhysicalMemory(place, byteCount: 1), .writePhysicalMemory(place, [1]),
            ] {
                try #expect(stub.ask(request) == .refused(.running))
            }
        }

        // MARK: Reading only

        @Test func `a client that may only read changes nothing but where the guest goes on`()
            throws
        {
            var settings = WorkerSettings.held
            settings.isDebugReadOnly = true
            try withGuest([0x90, 0x90, 0x90, 0xF4], settings) { _, stub in
                let write = StateWrite(
                    general: RegisterFile(), fsBase: 0, gsBase: 0, cr2: 0, extended: nil)
                for request in [
                    DebugRequest.writeMemory(start, [1]), .writePhysicalMemory(place, [1]),
                    .writeRegisters(RegisterFile()), .writeState(write), .restartGuest,
                ] {
                    try #expect(stub.ask(request) == .refused(.readOnly), "\(request)")
                }
                let second = GuestVirtualAddress(NopMachine.codeStart + 1)
                try #expect(stub.ask(.insertBreakpoint(.software, second)) == .done)
                stub.send(.resume(.continue))
                try #expect(stub.stop() == .softwareBreakpoint(second))
                stub.send(.resume(.step))
                try #expect(stub.stop() == .stepped)
                try #expect(
                    stub.ask(.readMemory(start, byteCount: 4))
                        == .memory([0x90, 0x90, 0x90, 0xF4]))
                try #expect(stub.ask(.removeBreakpoint(.software, second)) == .done)
                stub.send(.resume(.continue))
                try #expect(stub.reply() == .ended(.finished))
            }
        }

        // MARK: Reports

        @Test(arguments: [
            Inspection.status, .exits, .registers, .translate(start), .regions, .hostCalls, .dump,
        ])
        func `reports are lines of plain text`(inspection: Inspection) throws {
            try withGuest { _, stub in
                stub.send(.resume(.step))
                try #expect(stub.stop() == .stepped)
                guard case .report(let text) = try stub.ask(.inspect(inspection)) else {
                    Issue.record("no report")
                    return
                }
                #expect(text.hasSuffix("\n"))
                #expect(text.utf8.count < WireLimits.reportBytesMax)
                for line in text.split(separator: "\n") {
                    #expect(line.utf8.count <= 100, "\(line)")
                    #expect(line.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(line)")
                }
            }
        }

        @Test func `a report tells what the guest did and where it is`() throws {
            try withGuest { _, stub in
                for _ in 0..<2 {
                    stub.send(.resume(.step))
                    try #expect(stub.stop() == .stepped)
                }
                func report(_ inspection: Inspection) throws -> String {
                    guard case .report(let text) = try stub.ask(.inspect(inspection)) else {
                        return ""
                    }
                    return text
                }
                try #expect(report(.exits) == "step  rip 0x200002  x2\n")
                let status = try report(.status)
                #expect(status.contains("stopped-by-debugger"))
                #expect(status.contains("2 exits, 2 steps, 0 host calls"))
                try #expect(report(.regions).contains("rwx 4 KiB        image\n"))
                let walk = try report(.translate(start))
                #expect(walk.contains("present writable accessed dirty\n"), "\(walk)")
                #expect(walk.hasSuffix("physical 0x200000 in a page of 4 KiB, image\n"))
                try #expect(report(.translate(GuestVirtualAddress(0))).contains("it ends here"))
                try #expect(
                    report(.translate(GuestVirtualAddress(1 << 63))).contains("not canonical"))
                try #expect(report(.hostCalls) == "the guest has called no host function\n")
                let registers = try report(.registers)
                #expect(registers.contains("PG AM WP NE ET MP PE"))
                #expect(registers.contains("NXE LMA LME SCE"))
                let dump = try report(.dump)
                #expect(dump.contains("0000000000200002: f4 00"))
                #expect(dump.contains("rip    0000000000200002"))
            }
        }
    }
}
