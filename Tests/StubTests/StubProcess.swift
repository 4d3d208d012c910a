import Foundation
import LinuxListening
import LinuxSystem
import WireProtocol

/// The real program `hyperlight-gdbstub`, with a test as its supervisor, its worker and its client.
///
/// Use it from one synchronous test: the process lives as long as the thread that started it.
final class StubProcess {
    let control: OwnedDescriptor
    let worker: OwnedDescriptor
    let process: ChildProcess
    private let folder: URL

    /// How long anything may take, in milliseconds.
    static let patience: Int32 = 5000

    enum Failure: Error, Equatable {
        case nothingCame
        case ended
        case notClosed
        case unexpected(String)
    }

    /// Starts a stub with a Unix listener and gives it its order.
    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("hyperlight-stub-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let listener = try listenUnix(
            path: folder.appendingPathComponent("gdb.sock").path, kind: .stream, backlog: 4)
        // Nobody connects here; it is there so that a stub has all that it can be born with.
        let tcpListener = try listenTCP(address: "127.0.0.1", port: 0, backlog: 1)
        var controlPair = try SocketPair()
        var workerPair = try SocketPair()
        guard let control = controlPair.first.take(), let worker = workerPair.first.take(),
            let childControl = controlPair.second.take(), let childWorker = workerPair.second.take()
        else { throw Failure.ended }
        process = try ChildProcess.spawn(
            path: Self.program,
            arguments: ["hyperlight-gdbstub", "example", "container,born=0,enters=0"],
            environment: ["SWIFT_BACKTRACE=enable=no"],
            descriptors: [
                (source: 0, target: 0), (source: 2, target: 1), (source: 2, target: 2),
                (source: childControl.rawValue, target: ChildDescriptor.control),
                (source: tcpListener.rawValue, target: ChildDescriptor.Stub.tcpListener),
                (source: listener.rawValue, target: ChildDescriptor.Stub.unixListener),
                (source: childWorker.rawValue, target: ChildDescriptor.Stub.worker),
            ])
        childControl.close()
        childWorker.close()
        listener.close()
        tcpListener.close()
        self.control = control
        self.worker = worker
        guard case .hello(let hello) = try notice(),
            hello.protocolVersion == WireLimits.protocolVersion
        else { throw Failure.unexpected("first notice") }
        order(.start(StubSettings(processID: 0x40_0001, symbolFileName: "")))
    }

    deinit {
        process.signal(9)
        try? FileManager.default.removeItem(at: folder)
    }

    /// The program lies beside the tests.
    private static var program: String {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appendingPathComponent("hyperlight-gdbstub").path
    }

    func connect() throws -> StubClient {
        StubClient(
            try connectUnix(
                path: folder.appendingPathComponent("gdb.sock").path, kind: .stream), of: self)
    }

    func order(_ order: StubOrder) {
        _ = send(control, order.encoded())
    }

    func notice() throws -> StubNotice {
        let frame = try Self.frame(from: control)
        return try StubNotice(frame: frame, count: frame.count)
    }

    /// What the stub asks of its worker next.
    func request() throws -> DebugRequest {
        let frame = try Self.frame(from: worker)
        return try DebugRequest(frame: frame, count: frame.count)
    }

    /// Whether the worker is asked for nothing for a while.
    var hasAskedNothing: Bool { !waitForInput(worker, milliseconds: 20) }

    func answer(_ reply: DebugReply) {
        _ = send(worker, reply.encoded())
    }

    /// Sets how many descriptors the stub may have; answers how many it might before.
    func limitDescriptors(to count: UInt64) throws -> UInt64 {
        // prlimit(2), which Swift's Glibc module does not show.
        typealias Call =
            @convention(c) (
                pid_t, UInt32, UnsafePointer<rlimit>?, UnsafeMutablePointer<rlimit>?
            ) -> Int32
        guard let symbol = dlsym(nil, "prlimit") else { throw Failure.unexpected("prlimit") }
        let prlimit = unsafeBitCast(symbol, to: Call.self)
        var old = rlimit()
        guard prlimit(process.processID, RLIMIT_NOFILE.rawValue, nil, &old) == 0 else {
            throw Failure.unexpected("prlimit")
        }
        var new = rlimit(rlim_cur: rlim_t(count), rlim_max: old.rlim_max)
        guard prlimit(process.processID, RLIMIT_NOFILE.rawValue, &new, nil) == 0 else {
            throw Failure.unexpected("prlimit")
        }
        return UInt64(old.rlim_cur)
    }

    /// How long the stub has run on a processor.
    var processorNanoseconds: UInt64 {
        let text = try? String(
            contentsOfFile: "/proc/\(process.processID)/schedstat", encoding: .utf8)
        return text?.split(separator: " ").first.flatMap { UInt64($0) } ?? 0
    }

    /// How the process ended.
    func end() throws -> ProcessEnd {
        guard waitForInput(process.pidfd, milliseconds: Self.patience), let end = process.reap()
        else { throw Failure.notClosed }
        return end
    }

    private static func frame(from socket: borrowing OwnedDescriptor) throws -> [UInt8] {
        guard waitForInput(socket, milliseconds: patience) else { throw Failure.nothingCame }
        var buffer = [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)
        guard case .bytes(let count) = receive(socket, into: &buffer) else { throw Failure.ended }
        return Array(buffer[..<count])
    }
}

/// A debugger's end of a connection.
final class StubClient {
    private let socket: OwnedDescriptor
    /// Kept so that the stub lives at least as long as its clients.
    private let stub: StubProcess
    private var heard: [UInt8] = []

    init(_ socket: consuming OwnedDescriptor, of stub: StubProcess) {
        self.socket = socket
        self.stub = stub
    }

    func say(_ text: String) {
        _ = send(socket, Array(text.utf8))
    }

    /// The same for more than the connection takes at once.
    func sayAll(_ text: String) {
        var left = Array(text.utf8)[...]
        var set = PollSet([-1])
        set.watch(socket.rawValue, at: 0, forOutput: true)
        while !left.isEmpty, set.wait(milliseconds: StubProcess.patience) > 0 {
            switch send(socket, left) {
            case .bytes(let count): left = left.dropFirst(count)
            case .full: break
            case .ended: return
            }
        }
    }

    /// Waits until `text` is what was heard; throws with the rest when it is not.
    func expect(_ text: String) throws {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while heard.count < text.utf8.count {
            guard waitForInput(socket, milliseconds: StubProcess.patience) else {
                throw StubProcess.Failure.unexpected(String(decoding: heard, as: UTF8.self))
            }
            switch receive(socket, into: &buffer) {
            case .bytes(let count): heard += buffer[..<count]
            case .nothing: break
            case .ended:
                throw StubProcess.Failure.unexpected(String(decoding: heard, as: UTF8.self))
            }
        }
        guard heard == Array(text.utf8) else {
            throw StubProcess.Failure.unexpected(String(decoding: heard, as: UTF8.self))
        }
        heard = []
    }

    /// Waits for the stub to close the connection; answers what came before.
    func waitForEnd() throws -> String {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while waitForInput(socket, milliseconds: StubProcess.patience) {
            switch receive(socket, into: &buffer) {
            case .bytes(let count): heard += buffer[..<count]
            case .nothing: break
            case .ended: return String(decoding: heard, as: UTF8.self)
            }
        }
        throw StubProcess.Failure.notClosed
    }
}
