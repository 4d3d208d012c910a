import GuestModel
import LinuxSystem
import WireProtocol

// Serving the two sockets, to the supervisor and to the stub.
extension VCPULoop {
    /// Waits until a socket has something, at most so long; answers how many have.
    private func poll(milliseconds: Int32) -> Int {
        waiting.watch(debug.connectionDescriptor, at: 0)
        waiting.watch(supervisor.descriptor, at: 1)
        waiting.watch(debug.listenerDescriptor, at: 2)
        return waiting.wait(milliseconds: milliseconds)
    }

    func waitForInput() {
        let ready = poll(milliseconds: waitMilliseconds)
        if ready == 0 {
            reportState(now: true)
        } else if waiting.isReadable(1) || waiting.isReadable(2) {
            _ = serveAll()
        } else {
            // Mostly one request is outstanding: looking for a second one is a call for nothing.
            _ = serveOneRequest()
        }
        releaseIfWaitedLongEnough()
    }

    /// How long to wait for input: for ever, unless something is to be said or done later.
    private var waitMilliseconds: Int32 {
        if case .held(let deadline?) = activity {
            let now = monotonicNanoseconds()
            return deadline <= now ? 0 : Int32(clamping: (deadline - now - 1) / 1_000_000 + 1)
        }
        return reporter.isDue(activity.sandboxState) ? StateReporter.delayMilliseconds : -1
    }

    private func releaseIfWaitedLongEnough() {
        guard case .held(let deadline?) = activity, monotonicNanoseconds() >= deadline else {
            return
        }
        supervisor.send(.log(.info, "no debugger came in time; the guest runs on"))
        activity = .running(.free)
    }

    /// Serves what has come on any socket, without waiting; true when there may be more.
    func serveInput() -> Bool {
        poll(milliseconds: 0) > 0 && serveAll()
    }

    /// Serves what the last look found ready, then the stub.
    private func serveAll() -> Bool {
        if waiting.isReadable(1) { serveSupervisor() }
        if waiting.isReadable(2), debug.acceptStub() { clientLost("a new stub took over") }
        return serveDebug()
    }

    private func serveSupervisor() {
        while !exitRequested {
            switch supervisor.nextOrder() {
            case .nothing: return
            case .message(.stop): exitRequested = true
            case .message(.resume): resumeByOrder()
            case .message(.start): break
            case .message(.ping(let number)): supervisor.answer(number)
            case .ended: exitRequested = true
            }
        }
    }

    /// Requests served in one turn: a stub that never pauses must not keep the supervisor out.
    private static let requestsPerTurn = 64

    /// Serves a stub's requests; true when there may be more.
    private func serveDebug() -> Bool {
        for _ in 0..<Self.requestsPerTurn {
            guard serveOneRequest() else { return false }
            // The guest runs now: whatever follows is looked at from there.
            if case .running = activity { return true }
        }
        return true
    }

    /// Serves one request; false when there was none.
    private func serveOneRequest() -> Bool {
        switch debug.nextRequest() {
        case .nothing: return false
        case .ended(let reason):
            debug.close()
            clientLost(reason)
            return false
        case .message(let request):
            handle(request)
            return true
        }
    }
}
