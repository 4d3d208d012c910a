import GuestABI
import GuestModel
import Hypervisor
import WireProtocol

// What a stub may ask about the guest as a whole: what is mapped where, memory past the page tables,
// and a new start.
extension VCPULoop {
    func describeRegion(around address: GuestVirtualAddress) {
        guard isStopped else { return send(.refused(.running)) }
        guard let region = guest.region(around: address) else { return send(.refused(.invalid)) }
        send(.region(region))
    }

    // MARK: Physical memory

    func readPhysicalMemory(_ address: GuestPhysicalAddress, _ byteCount: Int) {
        guard isStopped else { return send(.refused(.running)) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount)
        let count = guest.read(at: address, byteCount: byteCount, appendingTo: &bytes)
        guard count > 0 || byteCount == 0 else { return send(.refused(.notMapped)) }
        breakpoints.hide(in: &bytes, from: [MemoryPiece(part: 0..<count, place: address)])
        send(.memory(bytes))
    }

    func writePhysicalMemory(
        _ bytes: [UInt8], at address: GuestPhysicalAddress
    ) throws(DebugRefusal) {
        let pieces = [MemoryPiece(part: 0..<bytes.count, place: address)]
        let patched = breakpoints.patched(bytes, to: pieces)
        guard guest.write(patched, at: address) else { throw .notMapped }
        breakpoints.noteWritten(bytes, to: pieces)
        guest.vcpu.translationsChanged()
        guest.vcpu.codeChanged()
    }

    // MARK: A new start

    /// Loads the guest anew, whatever became of it, and leaves it at its entry point.
    func restartGuest() {
        guard isStopped else { return send(.refused(.running)) }
        guard !settings.isDebugReadOnly, let image else { return send(.refused(.readOnly)) }
        flushOutput()
        let failure = loadAnew(image)
        activity = .stopped(.entryPoint, vcpu: .executing)
        log(.info, "the debugger started the guest anew; it stands at its entry point")
        reportState(now: true)
        send(.done)
        // A stub that does not read has ended its session, and the guest goes on without it.
        guard isClientAttached else { return }
        if let failure { crash(failure) } else { stop(.entryPoint) }
    }

    /// Forgets all of the former guest's life; answers why the new one cannot begin.
    private func loadAnew(_ image: KeptImage) -> HypervisorError? {
        ports = GuestPorts(io: guest.plan.io)
        exceptionFrame = nil
        exits = ExitHistory()
        do throws(DebugRefusal) {
            try breakpoints.clientLeft(in: guest)
            try breakpoints.clientCame(in: guest)
        } catch {
            log(.error, "the driver kept a breakpoint")
        }
        do throws(GuestStartError) {
            try image.restart(guest, inputs: GuestInputs(seed: settings.seed))
            return nil
        } catch {
            return .call("new start: \(error)", errno: 0)
        }
    }
}
