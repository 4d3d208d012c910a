import GuestModel
import Testing
import WireProtocol

@testable import Worker

extension VCPULoopTests {
    /// A Hyperlight guest with a kernel of its own: copy on write, a stack that grows, exceptions.
    @Suite(.serialized, .enabled(if: BuiltGuest.kernel != nil, "built by tools/guests"))
    struct KernelGuests {
        private let guest: BuiltGuest

        init() throws { guest = try #require(BuiltGuest.kernel) }

        /// A guest at the start of its main function, where all of its kernel is in place.
        private func sessionInMain(
            _ driver: RealDriver, _ settings: WorkerSettings = .hyperlight
        ) throws -> GuestSession {
            let session = try GuestSession(guest.bytes, on: driver, settings)
            let main = try guest.address("main")
            try #expect(session.insert(.hardware, main) == .done)
            try #expect(session.resume() == .hardwareBreakpoint(GuestVirtualAddress(main)))
            try #expect(session.remove(.hardware, main) == .done)
            return session
        }

        private func at(_ symbol: String) throws -> GuestVirtualAddress {
            GuestVirtualAddress(try guest.address(symbol))
        }

        // MARK: Steps

        /// The instructions of main whose places have names, in order.
        private static let path = ["pushed", "store", "stored", "copied", "again", "looped"]

        @Test(arguments: RealDriver.present, [0, 4])
        func `a step over an internal page fault ends behind its instruction`(
            driver: RealDriver, breakpoints: Int
        ) throws {
            let session = try sessionInMain(driver)
            // With four of the client's own there is no debug register left for the way back.
            for index in 0..<UInt64(breakpoints) {
                try #expect(session.insert(.hardware, guest.address("dispatch") + index) == .done)
            }
            for symbol in Self.path {
                try #expect(session.resume(.step) == .stepped)
                try #expect(session.rip == guest.address(symbol), "\(symbol)")
            }
            try #expect(session.read(guest.address("data"), 1) == [1])
            try #expect(session.read(guest.address("in_code"), 1) == [1])
        }

        @Test(arguments: RealDriver.present)
        func `a range step goes over internal page faults too`(driver: RealDriver) throws {
            let session = try sessionInMain(driver)
            let end = try at("copied")
            try #expect(session.resume(.stepRange(start: at("main"), end: end)) == .stepped)
            #expect(session.rip == end.rawValue)
        }

        @Test(arguments: RealDriver.present, [BreakpointKind.software, .hardware])
        func `continuing from a breakpoint on an instruction that faults makes progress`(
            driver: RealDriver, kind: BreakpointKind
        ) throws {
            let session = try sessionInMain(driver)
            for symbol in ["store", "stored", "copied"] {
                try #expect(session.insert(kind, guest.address(symbol)) == .done)
            }
            for symbol in ["store", "stored", "copied"] {
                try #expect(session.resume() == .breakpoint(kind, at(symbol)), "\(symbol)")
            }
        }

        @Test(arguments: RealDriver.present)
        func `a breakpoint in the page fault handler is hit in a step`(driver: RealDriver) throws {
            let session = try sessionInMain(driver)
            try #expect(session.insert(.hardware, guest.address("exception")) == .done)
            try #expect(session.resume(.step) == .hardwareBreakpoint(at("exception")))
            try #expect(session.resume() == .hardwareBreakpoint(at("exception")))
            try #expect(session.remove(.hardware, guest.address("exception")) == .done)
            // What the CPU pushed of the step's trap flag is not there when the handler returns.
            try #expect(session.stub.ask(.detach(.asConfigured)) == .done)
            try session.bench.waitFor(.ready)
        }

        @Test(arguments: RealDriver.present)
        func `a step onto an exception leaves no trap flag to the guest`(driver: RealDriver) throws
        {
            let session = try sessionInMain(driver)
            try #expect(session.resume(.step) == .stepped)
            try #expect(session.go(to: guest.address("undefined")) == .done)
            try #expect(session.resume(.step) == .stepped)
            // Its handler is the next thing to see.
            let stubs = try guest.address("stubs")
            #expect((stubs..<stubs + 0x200).contains(session.rip))
            let flags = try session.read(0xFFFF_FFFF_FFFF_EFB8)
            #expect(flags[1] & 1 == 0)
        }

        @Test(arguments: RealDriver.kickedFromAnyThread)
        func `a handler that never comes back can be interrupted in a step`(
            driver: RealDriver
        ) throws {
            let session = try sessionInMain(driver)
            // jmp to itself, where the handler begins to repair.
            let handler = GuestVirtualAddress(try guest.address("exception"))
            try #expect(session.stub.ask(.writeMemory(handler, [0xEB, 0xFE])) == .done)
            session.stub.send(.resume(.step))
            session.stub.send(.interrupt)
            try #expect(session.stop() == .interrupted)
            // Somewhere on the way to there, and not at the next instruction.
            let stubs = try guest.address("stubs")
            #expect((stubs...handler.rawValue).contains(session.rip))
        }

        @Test(arguments: RealDriver.kickedFromAnyThread)
        func `a handler that never comes back is shown where it is after a while`(
            driver: RealDriver
        ) throws {
            let session = try sessionInMain(driver)
            let handler = GuestVirtualAddress(try guest.address("exception"))
            try #expect(session.stub.ask(.writeMemory(handler, [0xEB, 0xFE])) == .done)
            try #expect(session.resume(.step) == .stepped)
            #expect(session.rip == handler.rawValue)
        }

        @Test(arguments: RealDriver.kickedFromAnyThread)
        func `a client that leaves in a step over a page fault lets the guest go`(
            driver: RealDriver
        ) throws {
            let session = try sessionInMain(driver)
            let handler = GuestVirtualAddress(try guest.address("exception"))
            let original = try session.read(handler.rawValue, 2)
            try #expect(session.stub.ask(.writeMemory(handler, [0xEB, 0xFE])) == .done)
            session.stub.send(.resume(.step))
            try #expect(session.stub.ask(.detach(.asConfigured)) == .done)
            try #expect(session.stub.attach() == .attached)
            try #expect(session.stub.ask(.writeMemory(handler, original)) == .done)
            try #expect(session.stub.ask(.detach(.asConfigured)) == .done)
            try session.bench.waitFor(.ready)
        }

        @Test(arguments: RealDriver.present)
        func `a step over OUT ends behind it`(driver: RealDriver) throws {
            let session = try sessionInMain(driver)
            try #expect(session.insert(.software, guest.address("out")) == .done)
            try #expect(session.resume() == .softwareBreakpoint(at("out")))
            try #expect(session.resume(.step) == .stepped)
            try #expect(session.rip == guest.address("after_out"))
        }

        @Test(arguments: RealDriver.present)
        func `a guest that was stepped over its HLT can be started anew`(driver: RealDriver) throws
        {
            let session = try sessionInMain(driver)
            // The HLT at the end of main.
            try #expect(session.go(to: guest.address("dispatch") - 1) == .done)
            session.stub.send(.resume(.step))
            try session.bench.waitFor(.ready)
            try #expect(session.stub.attach() == .attached)
            try #expect(session.stub.ask(.restartGuest) == .done)
            try #expect(session.stop() == .entryPoint)
            let main = try at("main")
            try #expect(session.insert(.hardware, main.rawValue) == .done)
            try #expect(session.resume() == .hardwareBreakpoint(main))
        }

        // MARK: Breakpoints in pages that are copied

        @Test(arguments: RealDriver.present)
        func `a breakpoint stays in force in a copy of its page, and goes from both`(
            driver: RealDriver
        ) throws {
            let session = try sessionInMain(driver)
            let looped = try guest.address("looped")
            let original = try session.read(looped, 4)
            let old = try session.leaf(looped).entry & 0x000F_FFFF_FFFF_F000
            try #expect(session.insert(.software, looped) == .done)
            // The page is copied on the way there.
            try #expect(session.resume() == .softwareBreakpoint(at("looped")))
            let new = try session.leaf(looped).entry & 0x000F_FFFF_FFFF_F000
            #expect(new != old)
            #expect(try session.read(looped, 4) == original)
            for page in [old, new] {
                #expect(try session.readPhysical(page + (looped & 0xFFF), 4) == original)
            }
            // It is still there: the loop comes by again.
            try #expect(session.resume() == .softwareBreakpoint(at("looped")))
            try #expect(session.remove(.software, looped) == .done)
            for page in [old, new] {
                #expect(try session.readPhysical(page + (looped & 0xFFF), 4) == original)
            }
            try #expect(session.stub.ask(.detach(.asConfigured)) == .done)
            try session.bench.waitFor(.ready)
        }

        // MARK: Exceptions

        struct Provoked: Sendable, CustomTestStringConvertible {
            let symbol: String
            let exception: CPUException
            /// Where RIP is not at the symbol.
            var rip: UInt64?
            var testDescription: String { symbol }
        }

        static let provoked = [
            Provoked(
                symbol: "undefined",
                exception: CPUException(vector: 6, errorCode: 0, faultAddress: nil)),
            Provoked(
                symbol: "null_store",
                exception: CPUException(
                    vector: 14, errorCode: 2, faultAddress: GuestVirtualAddress(0))),
            Provoked(
                symbol: "divide",
                exception: CPUException(vector: 0, errorCode: 0, faultAddress: nil)),
            Provoked(
                symbol: "far_jump",
                exception: CPUException(
                    vector: 14, errorCode: 0x10, faultAddress: GuestVirtualAddress(0)), rip: 0),
        ]

        /// Sends a guest in main to `symbol`, with numbers in its registers that can be known again.
        private func send(_ session: GuestSession, to symbol: String) throws {
            var general = session.state.general
            let keep = (general.rsp, general.rflags)
            general = RegisterFile(words: .init(repeating: 0x1122_3344_5566_7788))
            (general.rsp, general.rflags, general.rcx) = (keep.0, keep.1, 0)
            general.rip = try guest.address(symbol)
            try #expect(session.stub.ask(.writeRegisters(general)) == .done)
        }

        @Test(arguments: RealDriver.present, provoked)
        func `an exception stops the guest with the registers that it met`(
            driver: RealDriver, provoked: Provoked
        ) throws {
            let session = try sessionInMain(driver)
            // The stack is there, so that no other fault comes in between.
            try #expect(session.resume(.step) == .stepped)
            let stackPointer = session.state.general.rsp
            try send(session, to: provoked.symbol)
            try #expect(session.resume() == .crashed(.exception(provoked.exception)))
            let state = session.state
            let place = try guest.address(provoked.symbol)
            #expect(state.general.rip == provoked.rip ?? place)
            #expect(state.general.rsp == stackPointer)
            #expect(state.general.rax == 0x1122_3344_5566_7788)
            #expect(state.general.r15 == 0x1122_3344_5566_7788)
            #expect(state.general.rcx == 0)
            #expect(state.general.rflags & 0x1_0102 == 2)
            #expect([state.system.cs.selector, state.system.ss.selector] == [8, 0x10])
            guard case .extendedState(let extended?) = try session.stub.ask(.readExtendedState)
            else {
                Issue.record("no x87 and SSE state")
                return
            }
            #expect(extended.bytes[24..<26] == [0x80, 0x1F])
            // Whoever attaches again sees the same.
            try #expect(session.stub.attach() == .crashed(.exception(provoked.exception)))
            try #expect(session.report(.dump).contains("exception #"))
            session.stub.send(.resume(.continue))
            try #expect(
                session.stub.reply() == .ended(.crashed(.exception(provoked.exception))))
        }

        @Test(arguments: RealDriver.present)
        func `between the first word of a report and the last the registers are the handler's`(
            driver: RealDriver
        ) throws {
            let session = try sessionInMain(driver)
            try #expect(session.resume(.step) == .stepped)
            let reporting = try guest.address("reporting")
            try #expect(session.insert(.hardware, reporting) == .done)
            try send(session, to: "undefined")
            try #expect(
                session.resume() == .hardwareBreakpoint(GuestVirtualAddress(reporting)))
            #expect(session.state.general.rsp == 0xFFFF_FFFF_FFFF_ED00)
            // What lies on the stack now is not what lay there at the first word.
            let frame = GuestVirtualAddress(0xFFFF_FFFF_FFFF_EF90)
            try #expect(session.stub.ask(.writeMemory(frame, [9, 9, 9])) == .done)
            try #expect(session.resume(.step) == .stepped)
            #expect(session.rip == reporting + 5)
            let exception = CPUException(vector: 6, errorCode: 0, faultAddress: nil)
            try #expect(session.resume() == .crashed(.exception(exception)))
            try #expect(session.rip == guest.address("undefined"))
            #expect(session.state.general.rax == 0x1122_3344_5566_7788)
        }

        @Test(arguments: RealDriver.present)
        func `a panic stops with the registers of the guest itself`(driver: RealDriver) throws {
            let session = try sessionInMain(driver)
            try #expect(session.resume(.step) == .stepped)
            try send(session, to: "panic")
            try #expect(session.resume() == .crashed(.aborted(code: 8, text: "oh!")))
            let panic = try guest.address("panic")
            #expect((panic + 1..<panic + 32).contains(session.rip))
        }

        @Test(arguments: RealDriver.present)
        func `an exception before there is a handler is a triple fault`(
            driver: RealDriver
        ) throws {
            let session = try GuestSession(guest.bytes, on: driver, .hyperlight)
            try #expect(session.go(to: guest.address("undefined")) == .done)
            try #expect(session.resume() == .crashed(.tripleFault))
            var isTold = false
            while !isTold {
                guard case .log(_, let text) = try session.bench.notice() else { continue }
                isTold = text.contains("no interrupt table")
            }
        }
    }
}
