// Supervisor: the process that starts, watches and ends all others.
//
// One poll loop on the main thread does all of supervision: it binds the debug sockets, starts one
// worker and one stub per sandbox, hears what they report, and restarts what died, within the
// sandbox's settings. The control server runs on threads of its own and reaches this loop only
// through `CoreMailbox`. No byte of a guest, of a debugger or of RSP is parsed here.
//
// Start here, then `Sandbox.swift` (one sandbox's life) and `ChildLauncher.swift` (a child's birth).

import ControlAPI
import GuestModel
import Glibc
import Jail
package import LinuxSystem
package import Logging
package import SandboxConfig

/// What the command line and the environment add to the configuration file.
package struct SupervisorOptions: Sendable {
    /// The file's path as the user gave it, for messages.
    package var configurationPath: String
    /// From `--socket` or `HYPERLIGHT_SOCKET`.
    package var controlSocket: String?
    /// Where the control socket is when nobody names it; nil when the system has no such place.
    package var runtimeFolder: RuntimeFolder?
    /// From `HYPERLIGHT_HYPERVISOR` and `HYPERLIGHT_DEVICE_PATH`.
    package var machine: MachineHypervisor
    /// How long guests and clients get to end by themselves.
    package var shutdownGrace: Duration = .seconds(10)

    package init(
        configurationPath: String, controlSocket: String? = nil,
        runtimeFolder: RuntimeFolder? = nil, machine: MachineHypervisor = .unknown
    ) {
        self.configurationPath = configurationPath
        self.controlSocket = controlSocket
        self.runtimeFolder = runtimeFolder
        self.machine = machine
    }
}

/// Exit codes of `hyperlight-supervisor`; the numbers are those of sysexits.
package enum SupervisorExit: Int32, Sendable {
    case clean = 0
    case usage = 64
    case fileMissing = 66
    case noHypervisor = 69
    case systemError = 71
    case cannotCreate = 73
    case configuration = 78
}

/// One supervisor from its configuration to its exit code.
package final class SupervisorProcess {
    private let configuration: SupervisorConfiguration
    private let options: SupervisorOptions
    private let log: Logger
    private let mailbox: CoreMailbox
    private var sandboxes: [Sandbox] = []
    private var phase = Phase.serving
    private var controlServer: ControlServer?
    private var groups: ControlGroupTree?

    private enum Phase {
        case serving
        case stopping(deadline: UInt64)
        /// Everything was killed; only the ends are to be heard of.
        case killing

        var isServing: Bool {
            switch self {
            case .serving: true
            case .stopping, .killing: false
            }
        }
    }

    package init(
        _ configuration: SupervisorConfiguration, options: SupervisorOptions, log: Logger
    ) throws(SystemCallError) {
        self.configuration = configuration
        self.options = options
        self.log = log
        mailbox = try CoreMailbox()
    }

    /// Runs until a signal asks for the end.
    package func run() -> SupervisorExit {
        do throws(SupervisorError) {
            let signals = try attempt { () throws(SystemCallError) in
                try SignalQueue([SIGTERM, SIGINT])
            }
            let folder = try SocketFolder.make(
                controlSocket: options.controlSocket ?? configuration.controlSocket,
                standard: options.runtimeFolder)
            defer { folder.cleanUp() }
            let programs = try ProgramFolder.ownFolder()
            confineSelf(folder, programs)
            // Made before the sandboxes take descriptors, and serving after they have started.
            let server = ControlServer(
                socketPath: folder.controlSocket, core: mailbox, logger: log)
            startSandboxes(folder, programs)
            startControlServer(server)
            supervise(signals)
            groups?.remove()
            return .clean
        } catch {
            log.critical("supervisor.failed", sandbox: nil, "\(error)")
            return error.exit
        }
    }

    private func attempt<Value: ~Copyable>(
        _ body: () throws(SystemCallError) -> Value
    ) throws(SupervisorError) -> Value {
        do throws(SystemCallError) {
            return try body()
        } catch {
            throw .system(error)
        }
    }

    // MARK: Start

    private func startSandboxes(_ folder: borrowing SocketFolder, _ programs: ProgramFolder) {
        log.info(
            "supervisor.started", sandbox: nil,
            "hyperlight-supervisor \(projectVersion) (\(buildID)): "
                + "\(configuration.sandboxes.count) sandboxes, control \(folder.controlSocket)")
        let drivers = DriverCatalogue(programs: programs, machine: options.machine, log: log)
        let isRoot = isRoot()
        for (index, settings) in configuration.sandboxes.enumerated() {
            let sandbox = Sandbox(
                settings, index: index, paths: folder.paths(of: settings.name),
                launcher: ChildLauncher(programs: programs), drivers: drivers,
                jail: SandboxJail(
                    settings, index: index, firstUserID: configuration.firstUserID,
                    isRoot: isRoot, groups: groups),
                log: log)
            sandboxes.append(sandbox)
            guard settings.isEnabled else { continue }
            sandbox.start()
        }
    }

    /// Gives up what supervision does not need, before anybody else can say anything.
    private func confineSelf(_ folder: borrowing SocketFolder, _ programs: ProgramFolder) {
        makeControlGroups()
        let missing = SupervisorJail(
            configuration, folder: folder, programs: programs, machine: options.machine
        ).enter()
        for measure in missing {
            log.warning(
                "isolation.missing", sandbox: nil,
                "the supervisor without \(measure.measure.rawValue): \(measure.text)")
        }
    }

    /// None where this system gives none; whoever wanted one says so then.
    private func makeControlGroups() {
        guard configuration.hasStrictSandbox else { return }
        do throws(SystemCallError) {
            groups = try ControlGroupTree.make(processID: ownProcessID())
        } catch {
            log.debug("control-groups.none", sandbox: nil, "\(error)")
        }
    }

    private func startControlServer(_ server: ControlServer) {
        let mailbox = mailbox
        server.start { problem in mailbox.controlServerEnded(problem) }
        controlServer = server
    }

    // MARK: Loop

    private func supervise(_ signals: borrowing SignalQueue) {
        while true {
            var watched = [signals.descriptor.rawValue, mailbox.descriptor]
            var places: [(worker: Range<Int>, stub: Range<Int>)] = []
            for sandbox in sandboxes {
                let first = watched.count
                watched += sandbox.workerDescriptors
                let middle = watched.count
                watched += sandbox.stubDescriptors
                places.append((first..<middle, middle..<watched.count))
            }
            var set = PollSet(watched)
            set.wait(milliseconds: waitMilliseconds)
            let now = monotonicNanoseconds()
            for (sandbox, place) in zip(sandboxes, places) {
                sandbox.serve(
                    now: now, workerIsReady: place.worker.contains(where: set.isReadable),
                    stubIsReady: place.stub.contains(where: set.isReadable))
            }
            while set.isReadable(0), let signal = signals.next() { stop(by: signal) }
            if set.isReadable(1) { serveMailbox() }
            if !phase.isServing, sandboxes.allSatisfy(\.isQuiet) { return stopControlServer() }
            if case .stopping(let deadline) = phase, now >= deadline { killAll() }
        }
    }

    private var waitMilliseconds: Int32 {
        var deadlines = sandboxes.compactMap(\.nextDeadline)
        if case .stopping(let deadline) = phase { deadlines.append(deadline) }
        guard let next = deadlines.min() else { return -1 }
        let now = monotonicNanoseconds()
        return next <= now ? 0 : Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    private func stop(by signal: Int32) {
        guard phase.isServing else { return killAll() }
        log.info(
            "supervisor.stopping", sandbox: nil,
            "asked to end by \(signal == SIGINT ? "SIGINT" : "SIGTERM")")
        let grace = UInt64(options.shutdownGrace / .nanoseconds(1))
        phase = .stopping(deadline: monotonicNanoseconds() + grace)
        for sandbox in sandboxes { sandbox.stop() }
    }

    private func killAll() {
        phase = .killing
        for sandbox in sandboxes { sandbox.kill() }
    }

    private func stopControlServer() {
        controlServer?.perform { [mailbox] in mailbox.close() }
        controlServer?.requestStop()
        log.info("supervisor.stopped", sandbox: nil, "all sandboxes are gone")
    }

    // MARK: Control

    private func serveMailbox() {
        for question in mailbox.take() {
            let reply = answer(question.request)
            controlServer?.perform { question.answer(reply) }
        }
        if let problem = mailbox.controlProblem() {
            log.error("control.failed", sandbox: nil, problem)
        }
    }

    private func answer(_ request: ControlRequest) -> ControlReply {
        if !phase.isServing, request.changesSomething {
            return .unavailable("the supervisor is stopping")
        }
        guard let name = request.sandbox else { return .list(sandboxes.map(\.status)) }
        guard let sandbox = sandboxes.first(where: { $0.name == name }) else { return .notFound }
        switch request {
        case .list: return .list(sandboxes.map(\.status))
        case .details: return .details(sandbox.details(source: options.configurationPath))
        case .resume: return sandbox.resumeByOrder()
        case .start: return sandbox.startByOrder()
        case .stop: return sandbox.stopByOrder()
        case .kill: return sandbox.killByOrder()
        case .restart: return sandbox.restartByOrder()
        case .restartStub: return sandbox.restartStub()
        case .takeOver: return sandbox.takeOver()
        }
    }
}

extension ControlRequest {
    fileprivate var changesSomething: Bool {
        switch self {
        case .list, .details: false
        case .resume, .start, .stop, .kill, .restart, .restartStub, .takeOver: true
        }
    }
}

/// Why the supervisor itself cannot go on.
package enum SupervisorError: Error, CustomStringConvertible {
    case system(SystemCallError)
    case noRuntimeFolder
    case cannotCreate(String, SystemCallError)
    case alreadyRunning(lock: String)
    case pathTooLong(String)
    case notPrivate(String)
    case notOurs(String)

    package var description: String {
        switch self {
        case .system(let error): error.description
        case .noRuntimeFolder:
            "no folder for sockets: neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set, and "
                + "/run/hyperlight is for root; or use --socket PATH"
        case .cannotCreate(let what, let error): "cannot create \(what): \(error)"
        case .alreadyRunning(let lock): "another supervisor holds \(lock)"
        case .notPrivate(let path): "\(path) is not a folder of this user alone (mode 0700)"
        case .notOurs(let path): "\(path) is not a folder that this user alone can write to"
        case .pathTooLong(let path): "\(path) is too long for a socket (at most 107 bytes)"
        }
    }

    var exit: SupervisorExit {
        switch self {
        case .system: .systemError
        case .noRuntimeFolder, .cannotCreate, .alreadyRunning, .pathTooLong, .notPrivate,
            .notOurs:
            .cannotCreate
        }
    }
}
