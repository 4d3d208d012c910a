import GuestModel
import Testing
import WireProtocol

@testable import Worker

extension VCPULoopTests {
    /// A few instructions on each driver of this machine.
    @Suite(.serialized) struct RealGuests {
        private static let start = NopMachine.codeStart

        /// The memory access behind the end, at this offset.
        private static let load: UInt64 = 18

        /// Counts, prints and halts; behind that it loads RBX from the page behind its own.
        private static let code: [UInt8] =
            [0x48, 0xFF, 0x05, 0x19, 0, 0, 0]  // incq 0x20(start)
            + [0xB8, 0x0A, 0, 0, 0]  // movl $'\n', %eax
            + [0xE7, 0x67]  // outl %eax, $103
            + [0x90, 0xF4, 0x90, 0x90]  // nop; hlt
            + [0x48, 0x8B, 0x1C, 0x25, 0x00, 0x10, 0x20, 0x00]  // movq 0x201000, %rbx
            + [UInt8](repeating: 0, count: 14)

        private func session(_ driver: RealDriver) throws -> GuestSession {
            try GuestSession(NopMachine.image(Self.code), on: driver)
        }

        @Test(arguments: RealDriver.present)
        func `steps over a port write and to the end`(driver: RealDriver) throws {
            let session = try session(driver)
            for offset: UInt64 in [7, 12, 14, 15] {
                try #expect(session.resume(.step) == .stepped)
                #expect(session.rip == Self.start + offset)
            }
            session.stub.send(.resume(.step))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        @Test(arguments: RealDriver.present)
        func `steps over a port write and to the end with a breakpoint on each instruction`(
            driver: RealDriver
        ) throws {
            let session = try session(driver)
            for offset: UInt64 in [0, 7, 12, 14, 15] {
                try #expect(session.insert(.software, Self.start + offset) == .done)
            }
            for offset: UInt64 in [7, 12, 14, 15] {
                try #expect(session.resume(.step) == .stepped)
                #expect(session.rip == Self.start + offset)
            }
            session.stub.send(.resume(.step))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        @Test(arguments: RealDriver.present)
        func `a new start forgets memory, registers and state`(driver: RealDriver) throws {
            let session = try session(driver)
            try #expect(session.insert(.software, Self.start + 14) == .done)
            try #expect(
                session.resume() == .softwareBreakpoint(GuestVirtualAddress(Self.start + 14)))
            try #expect(session.read(Self.start + 0x20, 1) == [1])
            let fresh = try session.stub.ask(.readExtendedState)
            if case .extendedState(let state?) = fresh {
                var changed = state.bytes
                (changed[0], changed[160]) = (0x7E, 0xAA)
                let write = StateWrite(
                    general: session.state.general, fsBase: 0x1000, gsBase: 0, cr2: 0x2000,
                    extended: ExtendedState(fxsave: changed))
                try #expect(session.stub.ask(.writeState(write)) == .done)
            }
            try #expect(session.stub.ask(.restartGuest) == .done)
            try #expect(session.stop() == .entryPoint)
            #expect(session.rip == Self.start)
            #expect(session.state.system.fs.base == 0)
            try #expect(session.stub.ask(.readExtendedState) == fresh)
            try #expect(session.read(Self.start + 0x20, 1) == [0])
            // It steps as it did, and the breakpoint is gone.
            try #expect(session.resume(.step) == .stepped)
            #expect(session.rip == Self.start + 7)
            try #expect(session.read(Self.start + 0x20, 1) == [1])
            session.stub.send(.resume(.continue))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        @Test(arguments: RealDriver.present, [false, true])
        func `a new start after an access that has no memory begins at the entry point`(
            driver: RealDriver, steps: Bool
        ) throws {
            let session = try session(driver)
            // The page behind the code, mapped to where nothing is.
            let entry = try session.leaf(Self.start).place + 8
            let nowhere: [UInt8] = [3, 0, 0, 0x50, 0, 0, 0, 0]
            try #expect(
                session.stub.ask(.writePhysicalMemory(GuestPhysicalAddress(entry), nowhere))
                    == .done)
            try #expect(session.go(to: Self.start + Self.load) == .done)
            try #expect(
                session.resume()
                    == .crashed(.unmappedAccess(GuestPhysicalAddress(0x5000_0000), .read)))
            try #expect(session.stub.ask(.restartGuest) == .done)
            try #expect(session.stop() == .entryPoint)
            if steps {
                try #expect(session.resume(.step) == .stepped)
                #expect(session.rip == Self.start + 7)
                #expect(session.state.general.rbx == 0)
            }
            session.stub.send(.resume(.continue))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        @Test(arguments: RealDriver.present)
        func `a new start after a triple fault begins at the entry point`(driver: RealDriver)
            throws
        {
            let session = try session(driver)
            try #expect(session.go(to: Self.start + Self.load) == .done)
            try #expect(session.resume() == .crashed(.tripleFault))
            try #expect(session.stub.ask(.restartGuest) == .done)
            try #expect(session.stop() == .entryPoint)
            session.stub.send(.resume(.continue))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        @Test(arguments: RealDriver.present)
        func `a range step that lasts is reported as running`(driver: RealDriver) throws {
            // jmp to itself
            let session = try GuestSession(NopMachine.image([0xEB, 0xFE]), on: driver)
            let end = GuestVirtualAddress(Self.start + 2)
            session.stub.send(.resume(.stepRange(start: .init(Self.start), end: end)))
            try session.bench.waitFor(.running)
            session.stub.send(.interrupt)
            try #expect(session.stop() == .interrupted)
        }

        @Test(arguments: RealDriver.present)
        func `a step leaves data that looks like an exception frame as it was`(
            driver: RealDriver
        ) throws {
            // jmp over 32 bytes; nop
            let code: [UInt8] = [0xE9, 0x20, 0, 0, 0] + [UInt8](repeating: 0x90, count: 40)
            let session = try GuestSession(NopMachine.image(code), on: driver)
            let stack = (session.state.general.rsp & ~0xFFF) - 0x200
            // What an exception of the jump would push, and where.
            let system = session.state.system
            let data = [
                Self.start, UInt64(system.cs.selector), 0x102, stack, UInt64(system.ss.selector),
            ].flatMap(\.littleEndianBytes)
            try #expect(session.stub.ask(.writeMemory(.init(stack - 40), data)) == .done)
            session.state.general.rsp = stack
            try #expect(session.go(to: Self.start) == .done)
            try #expect(session.resume(.step) == .stepped)
            #expect(session.rip == Self.start + 0x25)
            try #expect(session.read(stack - 40, 40) == data)
        }

        // MARK: Breakpoints

        @Test(arguments: RealDriver.present)
        func `a breakpoint's place executes as it is by another address too`(
            driver: RealDriver
        ) throws {
            // nop; movl $0x12345678, %eax; nop; hlt
            let code: [UInt8] = [0x90, 0xB8, 0x78, 0x56, 0x34, 0x12, 0x90, 0xF4]
            let session = try GuestSession(NopMachine.image(code), on: driver)
            // The page behind the code is the code as well.
            let leaf = try session.leaf(Self.start)
            let write = DebugRequest.writePhysicalMemory(
                .init(leaf.place + 8), leaf.entry.littleEndianBytes)
            try #expect(session.stub.ask(write) == .done)
            try #expect(session.insert(.software, Self.start + 0x1001) == .done)
            if driver.patchesMemory {
                let here = GuestVirtualAddress(Self.start + 1)
                try #expect(session.resume() == .softwareBreakpoint(here))
                #expect(session.rip == here.rawValue)
            } else {
                try #expect(session.resume(.step) == .stepped)
            }
            try #expect(session.resume(.step) == .stepped)
            #expect(session.rip == Self.start + 6)
            #expect(session.state.general.rax == 0x1234_5678)
            session.stub.send(.resume(.continue))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        @Test(arguments: RealDriver.present, [ResumeMode.continue, .step])
        func `a breakpoint on an int3 of the guest's own hits once, then the int3 does`(
            driver: RealDriver, mode: ResumeMode
        ) throws {
            // nop; int3; nop; hlt
            let session = try GuestSession(NopMachine.image([0x90, 0xCC, 0x90, 0xF4]), on: driver)
            let trap = GuestVirtualAddress(Self.start + 1)
            try #expect(session.insert(.software, trap.rawValue) == .done)
            try #expect(session.resume() == .softwareBreakpoint(trap))
            #expect(session.rip == trap.rawValue)
            try #expect(session.resume(mode) == .guestTrap)
            #expect(session.rip == trap.rawValue + 1)
            session.stub.send(.resume(.continue))
            try #expect(session.stub.reply() == .ended(.finished))
        }

        // MARK: Long steps

        @Test(arguments: RealDriver.present)
        func `a range step over a loop of 100,000 instructions is one stop`(driver: RealDriver)
            throws
        {
            // movl $33333, %ecx; 1: incl %eax; decl %ecx; jnz 1b; nop; hlt
            let code: [UInt8] =
                [0xB9, 0x35, 0x82, 0, 0] + [0xFF, 0xC0, 0xFF, 0xC9, 0x75, 0xFA] + [0x90, 0xF4]
            let session = try GuestSession(NopMachine.image(code), on: driver)
            let end = GuestVirtualAddress(Self.start + 11)
            session.stub.send(.resume(.stepRange(start: .init(Self.start), end: end)))
            let begin = ContinuousClock.now
            try session.waitPatiently()
            let seconds = (ContinuousClock.now - begin) / .seconds(1)
            #expect(session.rip == end.rawValue)
            #expect(session.state.general.rax == 33333)
            print("measured: \(Int(100_000 / seconds)) steps/s in a range step on", driver)
        }
    }
}

extension GuestSession {
    /// Waits for a stop that takes longer than one reply may.
    func waitPatiently() throws {
        for _ in 0..<12 {
            do {
                _ = try stop()
                return
            } catch WorkerBench.Failure.nothingCame {}
        }
        throw WorkerBench.Failure.nothingCame
    }
}

extension UInt64 {
    fileprivate var littleEndianBytes: [UInt8] {
        stride(from: UInt64(0), to: 64, by: 8).map { UInt8(truncatingIfNeeded: self >> $0) }
    }
}
