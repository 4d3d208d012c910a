import Foundation
import Glibc

/// A debugger reduced to its packets: for what gdb would not say, or not that fast.
final class RSPClient {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var acknowledges = true

    enum Address {
        case port(UInt16)
        case path(String)
    }

    /// Connects; says nothing yet.
    ///
    /// With `takesLittle` the system keeps only a few KiB of what a client has not read.
    init(_ address: Address, takesLittle: Bool = false) throws {
        switch address {
        case .port(let port):
            descriptor = try Self.connect(port: port, takesLittle: takesLittle)
        case .path(let path): descriptor = try Self.connect(path: path)
        }
    }

    deinit { close(descriptor) }

    private static func connect(port: UInt16, takesLittle: Bool) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if takesLittle {
            var byteCount: Int32 = 4096
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &byteCount, socklen_t(4))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        // As debuggers do: a small packet does not wait for the other side's acknowledgment.
        var isOn: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(4))
        return try checked(descriptor, result, "port \(port)")
    }

    static func connect(path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return try checked(descriptor, result, path)
    }

    private static func checked(_ descriptor: Int32, _ result: Int32, _ what: String) throws
        -> Int32
    {
        guard result != 0 else { return descriptor }
        let code = errno
        close(descriptor)
        throw HarnessError("connect to \(what): \(String(cString: strerror(code)))")
    }

    // MARK: - Bytes

    /// Sends raw bytes; false when the other side takes no more.
    @discardableResult
    func send(raw bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// From now on the end of this client is a reset (RST), and no polite close.
    func endByReset() {
        var setting = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &setting, socklen_t(MemoryLayout<linger>.size))
    }

    /// Sends what the connection takes now; how much that was.
    func sendSome(_ bytes: [UInt8]) -> Int {
        max(0, Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)))
    }

    /// Waits, without reading, until the connection has broken; false at the deadline.
    func breaks(within duration: Duration) -> Bool {
        // Only errors and the full end are waited for: input is there all the time.
        var entry = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&entry, 1, Deadline.after(duration).milliseconds) == 1
    }

    /// Waits for more bytes; false at the end of the connection or the deadline.
    private func receiveMore(_ deadline: Deadline) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, deadline.milliseconds) == 1 else { return false }
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        received += buffer[..<count]
        return true
    }

    /// Whether the other side closes the connection in time.
    func isClosed(within duration: Duration) -> Bool {
        let deadline = Deadline.after(duration)
        while !deadline.isOver {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, deadline.milliseconds) == 1 else { return false }
            var buffer = [UInt8](repeating: 0, count: 65536)
            if recv(descriptor, &buffer, buffer.count, 0) <= 0 { return true }
        }
        return false
    }

    /// Waits, without reading, until there is something to read.
    func hears(within duration: Duration) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, Deadline.after(duration).milliseconds) == 1
    }

    /// No more comes from this client; it still hears what comes to it.
    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Everything that comes, as it is, until it is enough; throws when it does not become so.
    @discardableResult
    func receiveRaw(
        _ duration: Duration = .seconds(5), until isEnough: ([UInt8]) -> Bool
    ) throws -> [UInt8] {
        let deadline = Deadline.after(duration)
        while !isEnough(received) {
            guard receiveMore(deadline) else {
                let text = String(decoding: received.suffix(200), as: UTF8.self)
                throw HarnessError("too little came: \(received.count) bytes, last \(text)")
            }
        }
        defer { received = [] }
        return received
    }

    // MARK: - Packets

    func send(_ body: String) { send(raw: Self.packet(Array(body.utf8))) }

    static func packet(_ body: [UInt8]) -> [UInt8] {
        let sum = body.reduce(UInt8(0)) { $0 &+ $1 }
        return Array("$".utf8) + body + Array(String(format: "#%02x", sum).utf8)
    }

    /// The body of the next packet; acks are skipped.
    func receive(_ duration: Duration = .seconds(5)) throws -> String {
        let deadline = Deadline.after(duration)
        while true {
            if let body = takePacket() { return body }
            guard receiveMore(deadline) else {
                throw HarnessError(
                    "no packet; received \(String(decoding: received.prefix(200), as: UTF8.self))")
            }
        }
    }

    private func takePacket() -> String? {
        guard let start = received.firstIndex(of: UInt8(ascii: "$")),
            let end = received[start...].firstIndex(of: UInt8(ascii: "#")),
            end + 2 < received.count
        else { return nil }
        let body = String(decoding: received[(start + 1)..<end], as: UTF8.self)
        received.removeFirst(end + 3)
        if acknowledges { send(raw: Array("+".utf8)) }
        return body
    }

    /// Sends a packet and waits for its reply.
    @discardableResult
    func ask(_ body: String, _ duration: Duration = .seconds(5)) throws -> String {
        send(body)
        return try receive(duration)
    }

    /// Sends a packet that lets the guest go, and waits for the stop; words for a user come before it.
    func resume(_ body: String, _ duration: Duration = .seconds(5)) throws -> String {
        var reply = try ask(body, duration)
        while reply.hasPrefix("O") { reply = try receive(duration) }
        return reply
    }

    // MARK: - Sessions

    /// Begins a session and answers why the guest stands.
    @discardableResult
    func attach() throws -> String {
        try ask("qSupported:error-message+;swbreak+;hwbreak+;xmlRegisters=i386")
        guard try ask("QStartNoAckMode") == "OK" else { throw HarnessError("no no-ack mode") }
        send(raw: Array("+".utf8))
        acknowledges = false
        return try ask("?")
    }

    func readMemory(at address: UInt64, count: Int) throws -> [UInt8] {
        let reply = try ask("m\(String(address, radix: 16)),\(String(count, radix: 16))")
        let bytes = Self.bytes(hex: reply)
        guard bytes.count == count else { throw HarnessError("memory read: \(reply)") }
        return bytes
    }

    func readWord(at address: UInt64) throws -> UInt64 {
        try readMemory(at: address, count: 8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Register of this gdb number; 16 is rip.
    func readRegister(_ number: Int) throws -> UInt64 {
        let reply = try ask("p\(String(number, radix: 16))")
        return Self.bytes(hex: reply).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    func writeWord(_ value: UInt64, at address: UInt64) throws {
        let digits = (0..<8).map {
            String(format: "%02x", UInt8(truncatingIfNeeded: value >> (8 * $0)))
        }
        let reply = try ask("M\(String(address, radix: 16)),8:" + digits.joined())
        guard reply == "OK" else { throw HarnessError("memory write: \(reply)") }
    }

    func detach() throws {
        let reply = try ask("D")
        guard reply == "OK" else { throw HarnessError("detach: \(reply)") }
    }

    static func bytes(hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16)
        }
    }
}
