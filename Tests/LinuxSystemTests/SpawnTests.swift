import Glibc
import LinuxSystem
import Testing

/// Children are waited for on the thread that made them, because they die with it.
@Suite struct SpawnTests {
    @Test func `a child has exactly the descriptors it was given`() throws {
        let child = try Echo(alsoAt: [2, 7])
        #expect(try child.echoes())
        #expect(try namesIn("/proc/\(child.process.processID)/fd") == ["0", "1", "2", "7"])
    }

    @Test func `a child has exactly the environment it was given`() throws {
        var pair = try SocketPair()
        let ours = try pair.takeFirst()
        let theirs = try pair.takeSecond()
        let process = try spawn(
            "/usr/bin/env", [], environment: ["A=1", "B=two words"], output: theirs.rawValue)
        theirs.close()
        #expect(try end(of: process) == .exited(0))
        #expect(receiveText(ours) == "A=1\nB=two words\n")
    }

    @Test(arguments: [("/nowhere/at/all", ENOENT), ("/etc/passwd", EACCES), ("/", EACCES)])
    func `a program that cannot be executed is an error of the spawn`(
        _ path: String, code: Int32
    ) {
        #expect(throws: SystemCallError("spawn", code: code)) {
            _ = try ChildProcess.spawn(path: path, arguments: [], environment: [], descriptors: [])
                .processID
        }
    }

    @Test func `a closed source is an error of the spawn`() {
        #expect(throws: SystemCallError("spawn", code: EBADF)) {
            _ = try ChildProcess.spawn(
                path: "/bin/true", arguments: ["true"], environment: [], descriptors: [(1000, 3)]
            ).processID
        }
    }

    @Test func `the end of a child shows on its pidfd`() throws {
        let process = try spawn("/bin/sh", ["-c", "exit 7"])
        #expect(try end(of: process) == .exited(7))
        #expect(process.reap() == nil)
        process.signal(SIGTERM)
    }

    @Test func `a signal ends a child and says so`() throws {
        let child = try Echo(alsoAt: [])
        #expect(child.process.reap() == nil)
        child.process.signal(SIGTERM)
        let end = try end(of: child.process)
        #expect(end == .signal(SIGTERM))
        #expect(end?.description == "signal 15 (TERM)")
    }

    @Test func `signals that we block or ignore are not so in a child`() throws {
        let child = try Echo(alsoAt: [])
        #expect(try child.echoes())
        // 32 and 33 are the C library's own; it lets nobody change them.
        let reserved: UInt64 = 0b11 << 31
        for line in try textOf("/proc/\(child.process.processID)/status").split(separator: "\n") {
            let parts = line.split(separator: ":\t")
            guard ["SigBlk", "SigIgn", "SigCgt"].contains(parts[0]) else { continue }
            let signals = try #require(UInt64(parts[1], radix: 16))
            #expect(signals & ~reserved == 0, "\(line)")
        }
    }

    @Test func `a child dies with the thread that made it`() throws {
        final class Box: @unchecked Sendable { var child: Echo? }
        let box = Box()
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(box).toOpaque()
        let created = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                box.child = try? Echo(alsoAt: [])
                return nil
            }, argument)
        #expect(created == 0)
        pthread_join(thread, nil)
        let child = try takeChild(&box.child)
        #expect(try end(of: child.process) == .signal(SIGKILL))
    }

    private func takeChild(_ child: inout Echo?) throws -> Echo {
        guard let child = child.take() else { throw SystemCallError("spawn", code: EINVAL) }
        return child
    }

    private func spawn(
        _ path: String, _ arguments: [String], environment: [String] = [],
        output: Int32? = nil
    ) throws -> ChildProcess {
        let null = try openNull()
        return try ChildProcess.spawn(
            path: path, arguments: [path] + arguments, environment: environment,
            descriptors: [(null.rawValue, 0), (output ?? null.rawValue, 1), (null.rawValue, 2)])
    }

    /// How the process ended; an error when it still lives after ten seconds.
    private func end(of process: borrowing ChildProcess) throws -> ProcessEnd? {
        guard waitForInput(process.pidfd, milliseconds: 10_000) else {
            throw SystemCallError("waiting for the end", code: ETIMEDOUT)
        }
        return process.reap()
    }
}

/// A child that says back what it is told.
struct Echo: ~Copyable {
    let process: ChildProcess
    private let socket: OwnedDescriptor

    init(alsoAt numbers: [Int32]) throws {
        var pair = try SocketPair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else {
            throw SystemCallError("socketpair", code: EBADF)
        }
        // Its standard streams must wait for input.
        guard fcntl(theirs.rawValue, F_SETFL, 0) == 0 else {
            throw SystemCallError("fcntl", code: errno)
        }
        let targets = [0, 1] + numbers
        process = try ChildProcess.spawn(
            path: "/bin/cat", arguments: ["cat"], environment: [],
            descriptors: targets.map { (theirs.rawValue, $0) })
        socket = ours
    }

    func echoes() throws -> Bool {
        guard send(socket, [42]) == .bytes(1) else { return false }
        guard waitForInput(socket, milliseconds: 10_000) else { return false }
        var buffer: [UInt8] = [0, 0]
        return receive(socket, into: &buffer) == .bytes(1) && buffer[0] == 42
    }
}
