import GuestModel
import LinuxSystem
import Logging
import SandboxConfig
import WireProtocol

/// The debug door and the life of the stub behind it.
extension Sandbox {
    // MARK: Door

    /// Binds what the configuration asks for; does nothing while the door is open.
    func openDoor() {
        guard !door.isOpen else { return }
        doorProblem = nil
        door = DebugDoor.open(settings, paths: paths)
        if let problem = door.tcpProblem { log.error("debug.port-busy", sandbox: name, problem) }
        if let warning = door.remoteWarning { log.warning("debug.remote", sandbox: name, warning) }
        if let problem = door.unixProblem { log.error("debug.socket", sandbox: name, problem) }
        if !door.isOpen { stub.close(settings.debug.isEnabled ? .unavailable : .off) }
    }

    /// Opens the door anew if it lacks something that may be had by now.
    func reopenDoor() {
        if door.tcpProblem != nil { closeDoor() }
        openDoor()
    }

    /// Nobody can connect any more; a client would only wait for a stub that does not come.
    func closeDoor() {
        guard door.isOpen else { return }
        door = DebugDoor()
        removeSocket(paths.debugSocket)
    }

    private var doorText: String { door.address ?? door.unixPath ?? "nothing" }

    // MARK: Stub

    /// Takes a copy of the file that clients read symbols from; `image` is that of the guest.
    ///
    /// A guest runs without as well, so what goes wrong is only told.
    func takeSymbols(_ image: consuming OwnedDescriptor) {
        let path = settings.symbolsPath
        guard !SealedImage.isSameFile(path, settings.guestPath) else {
            symbols = SymbolFile(image, path: path)
            return
        }
        do throws(SystemCallError) {
            let copy = try SealedImage.make(copying: path, name: "symbols-\(name)")
            symbols = SymbolFile(copy, path: path)
        } catch {
            log.warning(
                "debug.symbols", sandbox: name,
                "symbol file \(path): \(error); debuggers have to bring their own")
        }
    }

    /// The name under which clients may read the symbol file; empty without one.
    private var symbolFileName: String {
        switch symbols {
        case .some(let file): file.name
        case .none: ""
        }
    }

    /// A stub for a new worker; at once, or when the one of the last worker has left.
    func beginStub() {
        if stub.workerIsBack() { startStub() }
    }

    private func startStub() {
        do throws(LaunchError) {
            let child = try launcher.stub(
                name, door: door, symbols: symbols, workerSocket: paths.workerSocket, jail: jail)
            stub.begin(child)
            log.debug("stub.started", sandbox: name, "stub \(child.processID) serves \(doorText)")
        } catch {
            log.error("stub.failed", sandbox: name, "\(error)")
            if case .gaveUp = stub.noteDeath(
                at: monotonicNanoseconds(), random: randomBits())
            {
                stubGaveUp("\(error)")
            }
        }
    }

    func serveStub(now: UInt64) {
        if let child = stub.child {
            if child.isHeard(at: now), hearStub(child) { child.rest(at: monotonicNanoseconds()) }
            if let deadline = child.deadline, now >= deadline { child.kill() }
            if let call = child.forbiddenCall() { violated(child, "stub", call) }
            _ = keepAlive(child, "stub", now: now, ping: StubOrder.ping)
            if let end = child.reap() {
                for _ in 0..<Self.lastTurnsMax where !hearStub(child) { break }
                _ = child.leaveGroup()
                stubEnded(end, now: now)
            }
        }
        if stub.isDue(at: now) { startStub() }
    }

    private func hearStub(_ child: Child) -> Bool {
        for line in child.lines() {
            voices.take(line, .processes, event: "stub.stderr", level: .error)
        }
        do throws(WireError) {
            for notice in try child.notices(StubNotice.self) { take(notice, from: child) }
            return child.isTurnFull
        } catch {
            log.error("stub.protocol", sandbox: name, "\(error); the stub is killed")
            child.kill()
            return false
        }
    }

    private func take(_ notice: StubNotice, from child: Child) {
        switch notice {
        case .hello(let hello):
            guard accepts(hello, of: "stub", child) else { return stub.giveUp() }
            guard child.isGreeting else { return }
            guard refusal(of: child, "stub", hello.confinement) == nil else {
                return stub.giveUp()
            }
            child.greeted()
            child.heartbeat.begin(at: monotonicNanoseconds())
            child.send(
                StubOrder.start(
                    StubSettings(
                        processID: Self.firstProcessID + UInt32(index),
                        symbolFileName: symbolFileName)))
        case .clientAttached(let client):
            stub.client = client
            voices.take(client, .processes, event: "debug.attached", level: .info)
        case .clientDetached(let reason):
            stub.client = nil
            voices.take(reason, .processes, event: "debug.detached", level: .info)
        case .clientRejected(let text):
            voices.take(text, .processes, event: "debug.rejected", level: .warning)
        case .log(let level, let text):
            voices.take(text, .processes, event: "stub.log", level: Logger.Level(level))
        case .pong(let number): hearPong(number, of: child, "stub")
        }
    }

    /// One above the largest process id that Linux can give.
    private static let firstProcessID: UInt32 = 4_194_305

    private func stubEnded(_ end: ProcessEnd, now: UInt64) {
        let hasWorker = worker.child.map { !$0.isLost } ?? false
        switch stub.ended(
            isWanted: hasWorker && !condition.isOver, at: now, random: randomBits())
        {
        case .expected: break
        case .restarts where end == .exited(0):
            // So it ends when its worker has left it: the worker's own end may be on its way.
            log.info("stub.exited", sandbox: name, "the stub ended, it had lost its worker")
        case .restarts(let delay):
            log.warning(
                "stub.exited", sandbox: name,
                "the stub ended: \(end); the guest is untouched, a new stub comes in \(delay) ms")
        case .gaveUp: stubGaveUp("the stub ended: \(end)")
        case .useless:
            doorProblem = "the stub was refused"
            closeDoor()
            // Nobody can come whom the guest could wait for.
            if [.waiting, .crashed].contains(condition.state) {
                worker.child?.send(WorkerOrder.resume)
            }
        }
        dismissWorker()
    }

    private func stubGaveUp(_ reason: String) {
        doorProblem = "stubs died too often"
        closeDoor()
        log.error(
            "stub.gave-up", sandbox: name,
            "\(reason), too often; debugging is off until \"hyperlight-ctl stub restart \(name)\"")
    }
}
