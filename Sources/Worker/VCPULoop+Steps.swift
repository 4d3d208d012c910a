import GuestABI
import GuestModel
import Hypervisor
import LinuxSystem

// Steps and range steps.
//
// A step is one instruction of the guest's own. A page fault that the kernel of a Hyperlight guest
// answers by itself (a page to copy, a stack that grows) belongs to the instruction that caused it, so
// a step that leads into its handler goes on until the instruction is done. On some machines the
// hypervisor sees to that; on others it reports a step into the handler.
//
// - Source: Hyperlight guest ABI 0.17, copy on write and stack growth; Intel SDM volume 3, "Single-Step
//   Exception Condition" and "Interrupt 14: Page-Fault Exception".
extension VCPULoop {
    func runStep() {
        step()
        guard case .running(.step) = activity else { return }
        stop(.stepped)
    }

    /// Steps while RIP stays in [start, end).
    func runRange(_ start: GuestVirtualAddress, _ end: GuestVirtualAddress) {
        var steps = 0
        reporter.stepsStarted()
        while case .running(.range) = activity, !exitRequested {
            step()
            guard case .running(.range) = activity else { return }
            if let kind = breakpoints.kind(at: rip, in: guest) {
                return stop(.breakpoint(kind, rip))
            }
            guard rip >= start, rip < end else { return stop(.stepped) }
            steps += 1
            if steps.isMultiple(of: Self.stepsBetweenLooks) {
                _ = serveInput()
                reportState(now: false)
            }
        }
    }

    /// Steps between two looks at the sockets: at 9 us a step about 0.3 ms.
    private static let stepsBetweenLooks = 32

    /// Executes one instruction of the guest's own, with all page faults that belong to it.
    func step() {
        let before = guest.state.general
        // An instruction touches few pages; one that faults for ever is shown where it is.
        for _ in 0..<Self.faultsMax {
            executeOneInstruction()
            guard let fault = pageFault(since: before), finish(fault) == .back else {
                return
            }
        }
    }

    private static let faultsMax = 16

    /// Takes our trap flag out of the flags that the CPU has pushed in a step; one of the guest's own
    /// stays.
    func clearPushedTrapFlag(since before: VCPUState) {
        guard guest.vcpu.stepsByTrapFlag, before.general.rflags & PushedFlags.trapFlag == 0 else {
            return
        }
        let address = PushedFlags.address(since: before, now: guest.state, memory: guest.memory) {
            shownMemory(
                at: .init(before.general.rip), byteCount: Int(PushedFlags.instructionBytesMax))
        }
        // PUSHF may push 16 bits; these are the higher eight of them.
        guard let address,
            let place = guest.physicalAddress(of: .init(address.rawValue &+ 1)),
            let flags = guest.memory.readUInt8(at: place)
        else { return }
        let cleared = flags & ~UInt8(PushedFlags.trapFlag >> 8)
        guard cleared != flags else { return }
        // It was read a moment ago, so it has memory and the write cannot fail.
        _ = guest.memory.write([cleared].span, at: place)
    }

    private func word(at address: UInt64) -> UInt64? {
        readVirtualUInt64(
            at: GuestVirtualAddress(address), system: guest.state.system, memory: guest.memory)
    }

    /// Executes exactly one instruction, which a kick may delay but not prevent.
    ///
    /// A kick needs new input on a socket, and none is read here, so the attempts are bounded. A HLT has
    /// one: where it does not end the run, a kick is all that does. Should the kick have come before it,
    /// nothing is lost, because nothing follows a HLT.
    private func executeOneInstruction() {
        let isHalt = isHalt(at: rip)
        repeat { guest.vcpu.clearKick() } while execute(.step) == .interrupted && !isHalt
        // Not every driver says so when it was a HLT that it stepped over.
        if isHalt, isRunning { guestHalted() }
    }

    // MARK: Page faults

    /// A page fault that the guest's kernel is about to answer.
    private struct PageFault {
        /// Where the instruction is, and its stack pointer: it will be executed again.
        let rip: GuestVirtualAddress
        let stackPointer: UInt64
        /// Where the CPU has pushed RIP and what is above it.
        let frame: UInt64

        func hasReturned(to registers: RegisterFile) -> Bool {
            registers.rip == rip.rawValue && registers.rsp == stackPointer
        }
    }

    /// How the answer to a page fault ended.
    private enum Answer {
        /// The guest stands at the instruction again.
        case back
        /// The instruction is done.
        case done
        /// It does not come back, or something else happened first.
        case elsewhere
    }

    /// The fault of the last step, if it was none: the guest stands at the handler of the instruction
    /// of `before`.
    private func pageFault(since before: RegisterFile) -> PageFault? {
        let now = guest.state.general
        guard isRunning, guest.plan.abi == .hyperlight,
            now.rip &- before.rip > PushedFlags.instructionBytesMax,
            // A client that stops at the handler wants to see it.
            breakpoints.kind(at: rip, in: guest) == nil
        else { return nil }
        let (system, memory) = (guest.state.system, guest.memory)
        guard
            let gate = InterruptGate(
                vector: CPUException.pageFault, system: system, memory: memory),
            isAtHandler(of: gate),
            let start = gate.frame(interrupting: before.rsp, system: system, memory: memory)
        else { return nil }
        let frame = start.rawValue &+ 8  // behind the error code
        guard word(at: frame) == before.rip, word(at: frame &+ 24) == before.rsp else {
            return nil
        }
        return PageFault(rip: .init(before.rip), stackPointer: before.rsp, frame: frame)
    }

    /// A KVM that emulates ring 0 reports the step only behind the handler's first instruction.
    private func isAtHandler(of gate: InterruptGate) -> Bool {
        guest.state.general.rip &- gate.handler.rawValue <= PushedFlags.instructionBytesMax
    }

    /// Lets the handler work until it is back at the instruction.
    private func finish(_ fault: PageFault) -> Answer {
        guard breakpoints.setOwnStop(fault.rip, in: guest) else {
            return stepThroughHandler(of: fault)
        }
        // With what the client has, the driver has always had room.
        defer { _ = breakpoints.setOwnStop(nil, in: guest) }
        return runHandler(of: fault)
    }

    /// As `finish`, with a stop at the instruction; the client is heard meanwhile.
    private func runHandler(of fault: PageFault) -> Answer {
        debug.setKickEnabled(true)
        defer { debug.setKickEnabled(false) }
        let deadline = monotonicNanoseconds() &+ Self.handlerMicrosecondsMax * 1000
        KickSignal.raise(afterMicroseconds: Self.handlerMicrosecondsMax)
        var mustLook = true
        while isRunning, isClientAttached, !exitRequested {
            if mustLook {
                guest.vcpu.clearKick()
                guard monotonicNanoseconds() < deadline else {
                    _ = refreshed()
                    return .elsewhere
                }
                mustLook = serveInput()
                continue
            }
            switch runOn(to: fault) {
            case .back: return .back
            case .onTheWay: break
            case .interrupted: mustLook = true
            }
        }
        return .elsewhere
    }

    /// Far more than a handler needs to copy one page.
    private static let handlerMicrosecondsMax: UInt64 = 1_000_000

    private enum Progress {
        case back
        case onTheWay
        case interrupted
    }

    private func runOn(to fault: PageFault) -> Progress {
        do throws(HypervisorError) {
            let exit = try enter(.continue)
            guard exit.isBreakpoint(at: fault.rip) else {
                return try handle(exit) == .interrupted ? .interrupted : .onTheWay
            }
            try refresh()
        } catch {
            crash(error)
            return .onTheWay
        }
        if fault.hasReturned(to: guest.state.general) { return .back }
        // The handler executes that instruction for itself.
        if let kind = breakpoints.kind(at: fault.rip, in: guest) {
            stop(.breakpoint(kind, fault.rip))
        } else {
            executeOneInstruction()
        }
        return .onTheWay
    }

    /// As `finish`, where all debug registers are the client's.
    private func stepThroughHandler(of fault: PageFault) -> Answer {
        for steps in 1...Self.handlerStepsMax {
            let isReturning = isAtReturn(from: fault)
            executeOneInstruction()
            if steps.isMultiple(of: Self.stepsBetweenLooks) { _ = serveInput() }
            guard isRunning, isClientAttached, !exitRequested else { return .elsewhere }
            if fault.hasReturned(to: guest.state.general) { return .back }
            if let kind = breakpoints.kind(at: rip, in: guest) {
                stop(.breakpoint(kind, rip))
                return .elsewhere
            }
            // A KVM that emulates ring 0 takes IRET and the instruction behind it for one step.
            if isReturning { return .done }
        }
        return .elsewhere
    }

    /// Copying a page word by word takes a tenth of it.
    private static let handlerStepsMax = 20_000

    /// Whether the next instruction is the handler's IRETQ.
    private func isAtReturn(from fault: PageFault) -> Bool {
        guest.state.general.rsp == fault.frame
            && shownMemory(at: rip, byteCount: 2) == [0x48, 0xCF]
    }
}

extension VMExit {
    fileprivate func isBreakpoint(at address: GuestVirtualAddress) -> Bool {
        self == .debug(.hardwareBreakpoint(address)) || self == .debug(.softwareBreakpoint(address))
    }
}
