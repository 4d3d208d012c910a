import GuestModel
import Jail
import LinuxSystem
import Logging
import SandboxConfig
import WireProtocol

/// The life of the worker: start, what it says, end, and what follows.
extension Sandbox {
    // MARK: Start

    /// Starts worker and stub; what goes wrong is logged and shows in the state.
    func start() {
        do throws(LaunchError) {
            // Before the door takes some of what is scarce.
            try launcher.checkRoom()
        } catch {
            return notLaunched(error)
        }
        openDoor()
        if let conflict = jail.userConflict { return giveUp(conflict) }
        switch drivers.choose(settings.drivers) {
        case .failure(let none): giveUp("no usable hypervisor: \(none.reason)")
        case .success(let driver):
            self.driver = driver
            startWorker(driver)
        }
    }

    private func startWorker(_ driver: ChosenDriver) {
        enter(.starting, "")
        do throws(LaunchError) {
            let image = try launcher.image(name, path: settings.guestPath)
            worker.begin(
                try launcher.worker(
                    name, driver: driver, image: image, workerSocket: paths.workerSocket,
                    jail: jail))
            generation += 1
            if settings.debug.isEnabled { takeSymbols(image) }
            if door.isOpen { beginStub() }
        } catch {
            notLaunched(error)
        }
    }

    /// A shortage may pass; anything else would be the same at the next try.
    private func notLaunched(_ error: LaunchError) {
        guard error.isShortage else { return giveUp("\(error)") }
        log.error("resource.exhausted", sandbox: name, "the worker cannot be started: \(error)")
        restart(because: "\(error)", at: monotonicNanoseconds())
    }

    /// No further worker comes unless somebody asks for it.
    private func giveUp(_ reason: String) {
        worker.afterEnd(.giveUp)
        enter(.failed, reason)
        guard worker.child == nil else { return }
        stub.workerIsGone()
        if isQuiet { settle() }
    }

    // MARK: Turn

    func serveWorker(now: UInt64) {
        if worker.isDue(at: now) {
            worker.leaveVacant()
            start()
        }
        guard let child = worker.child else { return }
        if child.isHeard(at: now), hearWorker(child) { child.rest(at: monotonicNanoseconds()) }
        if let deadline = child.deadline, now >= deadline {
            if child.isGreeting { child.endReason = "the worker did not report within 5 s" }
            child.kill()
        }
        if let call = child.forbiddenCall() {
            child.endReason = "the worker made the forbidden \(call)"
            violated(child, "worker", call)
        }
        if !keepAlive(child, "worker", now: now, ping: WorkerOrder.ping) {
            child.endReason = "the worker did not answer for 10 s"
        }
        guard let end = child.reap() else { return }
        // Its last words are still in the socket, more than one turn's if it spoke much.
        for _ in 0..<Self.lastTurnsMax where !hearWorker(child) { break }
        // No later report would come if this is the end of everything.
        voices.report(at: .max)
        removeSocket(paths.workerSocket)
        if child.leaveGroup() > 0 {
            log.error("worker.out-of-memory", sandbox: name, "the worker had no memory left")
        }
        workerEnded(child, end, at: now)
    }

    /// Takes what the worker says, at most one turn's worth; true when there may be more.
    private func hearWorker(_ child: Child) -> Bool {
        for line in child.lines() {
            voices.take(line, .processes, event: "worker.stderr", level: .error)
        }
        do throws(WireError) {
            for notice in try child.notices(WorkerNotice.self) { take(notice, from: child) }
            return child.isTurnFull
        } catch {
            breakOff(child, "\(error)")
            return false
        }
    }

    /// With a broken worker there is no arguing.
    private func breakOff(_ child: Child, _ reason: String) {
        guard !child.isLost else { return }
        log.error("worker.protocol", sandbox: name, "\(reason); the worker is killed")
        child.endReason = "the worker broke the protocol: \(reason)"
        child.kill()
    }

    /// What a worker can know; the other states are the supervisor's to enter.
    private static func isReportable(_ state: SandboxState) -> Bool {
        switch state {
        case .waiting, .ready, .running, .stoppedByDebugger, .crashed, .failed, .finished, .stopped:
            true
        case .disabled, .starting, .backoff, .stopping: false
        }
    }

    private func take(_ notice: WorkerNotice, from child: Child) {
        switch notice {
        case .hello(let hello): greet(child, hello)
        case .state(let new, let text):
            guard Self.isReportable(new), child.hasGreeted || new == .failed else {
                return breakOff(child, "state \(new.rawValue) is not for it to report now")
            }
            // Now it is in its loop; before, it may have had a large image to load.
            child.heartbeat.begin(at: monotonicNanoseconds())
            // What a worker says that was given up has no weight.
            guard !condition.isStopping, condition.state != .failed else { return }
            // With its guest a worker ends; one that goes on would be out of everybody's reach.
            if [.finished, .failed, .stopped].contains(new) {
                child.expectEnd(within: Child.leavingNanoseconds)
            }
            // Whether a failure is the end is not the worker's to say.
            guard new != .failed else {
                child.endReason = text
                return
            }
            enter(new, text, reported: true)
            // A client ended its guest, and a client does not mean "again".
            if new == .stopped { worker.afterEnd(.stop) }
        case .output(let text):
            voices.take(text, .guest, event: "guest.output", level: .info)
        case .log(let level, let text):
            voices.take(text, .guest, event: "worker.log", level: Logger.Level(level))
        case .pong(let number): hearPong(number, of: child, "worker")
        }
    }

    private func greet(_ child: Child, _ hello: Hello) {
        guard accepts(hello, of: "worker", child) else { return giveUp("worker of another build") }
        // A second greeting, or one that comes after the order to stop, changes nothing.
        guard child.isGreeting, !condition.isStopping else { return }
        if let refusal = refusal(of: child, "worker", hello.confinement) {
            return giveUp("\(refusal)")
        }
        child.greeted()
        // Without the port that was asked for nobody would come: the guest runs on.
        let canHold = door.isOpen && door.tcpProblem == nil && holdsGuest
        child.send(
            WorkerOrder.start(
                WorkerSettings(settings, holdsGuest: canHold, canBeDebugged: door.isOpen)))
        child.heartbeat.begin(at: monotonicNanoseconds(), after: Self.loadingNanoseconds)
    }

    /// How long a worker may be busy with its image before it has to answer.
    private static let loadingNanoseconds: UInt64 = 60_000_000_000

    // MARK: End

    private func workerEnded(_ child: Child, _ end: ProcessEnd, at now: UInt64) {
        stub.workerIsGone()
        symbols = nil
        let isFinished = end == .exited(0) && child.endReason == nil && child.hasGreeted
        let afterwards = worker.ended()
        if afterwards == .policy { holdsGuest = false }
        switch afterwards {
        case .stop, .giveUp: break
        case .restart: start()
        case .policy where isFinished && settings.restart.policy == .always:
            restart(because: "the guest ended", at: now)
        case .policy where isFinished:
            // Most often the worker has said so itself.
            if condition.state != .finished { enter(.finished, "the guest ended") }
        case .policy:
            let reason = child.endReason ?? "the worker ended: \(end)"
            log.error("worker.exited", sandbox: name, "the worker ended: \(end)")
            if end.isFinal { giveUp(reason) } else { restart(because: reason, at: now) }
        }
    }

    /// Another worker comes after a while, unless there were too many already.
    private func restart(because reason: String, at now: UInt64) {
        guard settings.restart.policy != .never else { return giveUp(reason) }
        guard let start = workerHistory.noteDeath(at: now, random: randomBits()) else {
            let burst = workerHistory.policy.deathsMax
            log.error(
                "worker.gave-up", sandbox: name,
                "\(burst) restarts within \(settings.restart.window) were not enough; "
                    + "\"hyperlight-ctl start \(name)\" tries again")
            return giveUp(reason)
        }
        worker.wait(until: start)
        enter(
            .backoff,
            "\(reason); restart \(workerHistory.recentDeaths) of \(workerHistory.policy.deathsMax) "
                + "in \((start - now) / 1_000_000) ms")
    }
}

extension ProcessEnd {
    /// Whether another process would end in the same way: wrong use, a guest that is none, a file or
    /// a hypervisor that is missing, a right that is missing.
    fileprivate var isFinal: Bool {
        switch self {
        case .exited(let code): [64, 65, 66, 69, 77, 78].contains(code)
        case .signal: false
        }
    }
}
