import Foundation
import Glibc
import GuestModel
import Hypervisor
import LinuxListening
import LinuxSystem
import WireProtocol

@testable import Worker

extension WorkerSettings {
    /// A bare guest that starts at once.
    static var plain: WorkerSettings {
        WorkerSettings(
            abi: .bare, heap: 0, scratch: 0x10000, input: 0, output: 0,
            acceptsUnversionedGuest: false, holdsForClient: false, waitTimeoutMilliseconds: 0,
            resumesOnDisconnect: true, onCrash: .hold, isDebugReadOnly: false, endsOnKill: false,
            endsWhenReady: false, seed: 0)
    }

    static var held: WorkerSettings {
        var settings = plain
        settings.holdsForClient = true
        return settings
    }
}

/// A worker's loop on a thread of its own; the test is its supervisor and its stub.
final class WorkerBench {
    enum Failure: Error {
        case nothingCame
        case ended
    }

    private let folder: URL
    private let listener: Int32
    private let childControl: Int32
    private let control: MessageSocket

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("hyperlight-worker-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        listener = try listenUnix(
            path: folder.appendingPathComponent("debug").path, kind: .messages, backlog: 4
        ).release()
        var pair = try SocketPair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else {
            throw Failure.ended
        }
        control = MessageSocket(ours, byteCountMax: WireLimits.frameBytesMax)
        childControl = theirs.release()
    }

    deinit {
        _ = control.send(WorkerOrder.stop.encoded())
        try? FileManager.default.removeItem(at: folder)
    }

    /// Begins to run `code` on the machine of few instructions; call it once.
    func start(
        _ code: [UInt8], _ settings: WorkerSettings = .plain,
        capabilities: DriverCapabilities = .complete, extended: ExtendedState? = nil
    ) {
        start(image: NopMachine.image(code), settings) {
            NopMachine(capabilities: capabilities, extended: extended)
        }
    }

    /// Begins to run the guest of `image` on a machine that is made for it; call it once.
    func start(
        image: [UInt8], _ settings: WorkerSettings, driver: DriverName = .emulator,
        makeMachine: @escaping @Sendable () throws -> any VirtualMachine
    ) {
        let (listener, childControl) = (listener, childControl)
        let path = folder.appendingPathComponent("image").path
        Thread.detachNewThread {
            let link = SupervisorLink(OwnedDescriptor(childControl))
            do {
                let machine = try makeMachine()
                // Never given back: a signal may come at any time, and its handler writes there.
                _ = unsafe Unmanaged.passRetained(machine as AnyObject)
                switch machine.vcpu.kick {
                case .flag(let flag): unsafe try KickSignal.install(flag: flag)
                case .function(let function, let argument):
                    unsafe try KickSignal.install(function: function, argument: argument)
                }
                try link.claimKick()
                let debug = try DebugLink(
                    listener: OwnedDescriptor(listener), supervisor: link.peer())
                let guest = try Guest(
                    machine, image: image.span, settings: settings,
                    inputs: GuestInputs(seed: settings.seed))
                try Data(image).write(to: URL(fileURLWithPath: path))
                let file = OwnedDescriptor(unsafe open(path, O_RDONLY | O_CLOEXEC))
                let loop = VCPULoop(
                    guest: guest, image: KeptImage(try MappedImage(file)), driver: driver,
                    settings: settings, supervisor: link, debug: debug)
                _ = loop.run()
            } catch {
                link.report(.failed, "\(error)")
            }
        }
    }

    func connectStub() throws -> StubEnd {
        StubEnd(
            try connectUnix(path: folder.appendingPathComponent("debug").path, kind: .messages))
    }

    /// Says something as its supervisor.
    func order(_ order: WorkerOrder) { _ = control.send(order.encoded()) }

    /// Waits until the worker reports this state.
    func waitFor(_ state: SandboxState) throws {
        while true {
            if case .state(state, _) = try notice() { return }
        }
    }

    /// The next thing that the worker says to its supervisor.
    func notice() throws -> WorkerNotice {
        let count = try nextMessage(control)
        return try WorkerNotice(frame: control.message, count: count)
    }
}

/// The stub's end of a debug connection.
final class StubEnd {
    private let socket: MessageSocket

    init(_ descriptor: consuming OwnedDescriptor) {
        socket = MessageSocket(descriptor, byteCountMax: WireLimits.frameBytesMax)
    }

    func send(_ request: DebugRequest) { send(raw: request.encoded()) }

    /// Sends one message, whatever it is; false when the worker does not take it.
    @discardableResult
    func send(raw frame: [UInt8]) -> Bool { socket.send(frame) }

    /// Whether the worker has closed the connection, with messages unread or not.
    var isHungUp: Bool {
        var entry = pollfd(fd: socket.rawValue, events: 0, revents: 0)
        return unsafe poll(&entry, 1, 0) == 1 && Int32(entry.revents) & POLLHUP != 0
    }

    /// Reads on until the worker has closed the connection.
    func waitForEnd() throws {
        while true {
            do {
                _ = try nextMessage(socket)
            } catch WorkerBench.Failure.ended {
                return
            }
        }
    }

    func reply() throws -> DebugReply {
        let count = try nextMessage(socket)
        return try DebugReply(frame: socket.message, count: count)
    }

    /// The reason of the stop that comes next.
    func stop() throws -> StopReason? {
        if case .stopped(let event) = try reply() { event.reason } else { nil }
    }

    func ask(_ request: DebugRequest) throws -> DebugReply {
        send(request)
        return try reply()
    }

    /// Attaches a client; the reason of the stop.
    func attach() throws -> StopReason? {
        guard case .attached = try ask(.attach) else { return nil }
        return try stop()
    }
}

/// Bytes of the next message; waits for at most 5 s.
private func nextMessage(_ socket: MessageSocket) throws -> Int {
    let deadline = monotonicNanoseconds() + 5_000_000_000
    var set = PollSet([socket.rawValue])
    while monotonicNanoseconds() < deadline {
        switch socket.receive() {
        case .bytes(let count): return count
        case .ended: throw WorkerBench.Failure.ended
        // A kick interrupts this wait too.
        case .nothing: set.wait(milliseconds: 100)
        }
    }
    throw WorkerBench.Failure.nothingCame
}
