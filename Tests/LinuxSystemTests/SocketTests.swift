import Glibc
import LinuxListening
import LinuxSystem
import Testing

@Suite struct SocketTests {
    @Test func `messages keep their borders`() throws {
        let pair = try Pair()
        #expect(send(pair.ours, [1, 2, 3]) == .bytes(3))
        #expect(send(pair.ours, [4]) == .bytes(1))
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(receive(pair.theirs, into: &buffer) == .bytes(3))
        #expect(receive(pair.theirs, into: &buffer) == .bytes(1))
        #expect(buffer[0] == 4)
        #expect(receive(pair.theirs, into: &buffer) == .nothing)
    }

    @Test func `the end of the other side is an answer and no signal`() throws {
        let pair = try Pair()
        let ours = pair.closeTheirs()
        // A child that another test is just starting has a copy of the other end until its exec.
        let hasEnded = waitForInput(ours, milliseconds: 5000)
        #expect(hasEnded)
        var buffer: [UInt8] = [0]
        #expect(send(ours, [1]) == .ended)
        #expect(receive(ours, into: &buffer) == .ended)
    }

    @Test func `a peer that does not read fills its queue`() throws {
        let pair = try Pair()
        var sent = 0
        while sent < 100_000, send(pair.ours, [0]) == .bytes(1) { sent += 1 }
        #expect(sent > 0)
        #expect(sent < 100_000)
        #expect(send(pair.ours, [0]) == .full)
    }

    @Test func `a port has one owner`() throws {
        let listener = try listenTCP(address: "127.0.0.1", port: 0, backlog: 1)
        let port = try boundPort(listener)
        #expect(port > 0)
        #expect(throws: SystemCallError("bind", code: EADDRINUSE)) {
            _ = try listenTCP(address: "127.0.0.1", port: port, backlog: 1).rawValue
        }
        if let somebody = try acceptConnection(listener) {
            Issue.record("\(peerName(somebody)) connected")
        }
    }

    @Test(arguments: ["localhost", "", "127.0.0.1.1", "1", "::1 "])
    func `only numeric addresses are taken`(_ address: String) {
        #expect(throws: SystemCallError("bind", code: EINVAL)) {
            _ = try listenTCP(address: address, port: 0, backlog: 1).rawValue
        }
    }

    @Test func `F9: an accepted connection has the keepalive of its listener`() throws {
        let listener = try listenTCP(address: "127.0.0.1", port: 0, backlog: 1)
        let client = OwnedDescriptor(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = try boundPort(listener).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(client.rawValue, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        #expect(result == 0)
        let hasCome = waitForInput(listener, milliseconds: 5000)
        #expect(hasCome)
        guard let accepted = try acceptConnection(listener) else {
            Issue.record("nobody came")
            return
        }
        let tcp = Int32(IPPROTO_TCP)
        let options: [(level: Int32, name: Int32, value: Int32)] = [
            (SOL_SOCKET, SO_KEEPALIVE, 1), (tcp, TCP_NODELAY, 1), (tcp, TCP_KEEPIDLE, 30),
            (tcp, TCP_KEEPINTVL, 10), (tcp, TCP_KEEPCNT, 3), (tcp, TCP_USER_TIMEOUT, 30_000),
        ]
        for option in options {
            var value: Int32 = -1
            var size = socklen_t(MemoryLayout<Int32>.size)
            #expect(getsockopt(accepted.rawValue, option.level, option.name, &value, &size) == 0)
            #expect(value == option.value, "option \(option.name) of level \(option.level)")
        }
    }

    @Test(arguments: [SocketKind.stream, .messages])
    func `a Unix socket tells who is there`(_ kind: SocketKind) throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/socket"
        let listener = try listenUnix(path: path, kind: kind, backlog: 1)
        let client = try connectUnix(path: path, kind: kind)
        guard let accepted = try acceptConnection(listener) else {
            Issue.record("nobody came")
            return
        }
        let peer = try peerCredentials(accepted)
        #expect(peer.processID == getpid())
        #expect(peer.userID == getuid())
        #expect(peerName(accepted) == "unix")
        #expect(send(client, [1]) == .bytes(1))
    }

    @Test func `a Unix path is refused when it is taken or too long`() throws {
        let folder = try TemporaryFolder()
        try write("", to: "\(folder.path)/taken")
        #expect(throws: SystemCallError("bind", code: EADDRINUSE)) {
            _ = try listenUnix(path: "\(folder.path)/taken", kind: .stream, backlog: 1).rawValue
        }
        let long = "/tmp/" + String(repeating: "x", count: 200)
        #expect(throws: SystemCallError("bind", code: ENAMETOOLONG)) {
            _ = try listenUnix(path: long, kind: .stream, backlog: 1).rawValue
        }
    }

    @Test func `poll shows what is ready and nothing else`() throws {
        let quiet = try Pair()
        let busy = try Pair()
        var set = PollSet([quiet.ours.rawValue, -1, busy.ours.rawValue])
        #expect(set.wait(milliseconds: 0) == 0)
        #expect(send(busy.theirs, [1]) == .bytes(1))
        #expect(set.wait(milliseconds: 10_000) == 1)
        #expect((0..<3).map { set.isReadable($0) } == [false, false, true])
        set.watch(quiet.ours.rawValue, at: 0, forOutput: true)
        #expect(set.wait(milliseconds: 10_000) == 2)
        #expect(set.isWritable(0))
    }

    @Test func `waiting for input has an end`() throws {
        let pair = try Pair()
        let before = monotonicNanoseconds()
        let hasInput = waitForInput(pair.ours, milliseconds: 20)
        #expect(!hasInput)
        #expect(monotonicNanoseconds() - before >= 20_000_000)
    }
}

/// Two connected SOCK_SEQPACKET sockets.
struct Pair: ~Copyable {
    let ours: OwnedDescriptor
    let theirs: OwnedDescriptor

    init() throws {
        var pair = try SocketPair()
        let first = try pair.takeFirst()
        let second = try pair.takeSecond()
        ours = first
        theirs = second
    }

    consuming func closeTheirs() -> OwnedDescriptor {
        theirs.close()
        return ours
    }
}
