import ControlAPI
import Foundation
import Glibc

/// The control socket without a program around it: for tests that ask a thousand times.
extension RunningSupervisor {
    /// What the supervisor says of a sandbox now.
    func statusAtOnce(_ sandbox: String) throws -> SandboxStatus {
        let body = try request("GET", "/v1/sandboxes")
        let all = try JSONDecoder().decode([SandboxStatus].self, from: Data(body))
        guard let status = all.first(where: { $0.name == sandbox }) else {
            throw HarnessError("no sandbox \(sandbox)")
        }
        return status
    }

    /// A new stub now, whatever became of the last ones.
    func restartStub(_ sandbox: String) throws {
        try request("POST", "/v1/sandboxes/\(sandbox)/debug/restart-stub")
    }

    /// Sends the attached debugger away.
    func takeOverAtOnce(_ sandbox: String) throws {
        try request("POST", "/v1/sandboxes/\(sandbox)/debug/take-over")
    }

    /// Asks and answers the body; throws unless the answer is good.
    @discardableResult
    private func request(_ method: String, _ path: String) throws -> [UInt8] {
        var made: UnixConnection?
        // Right after the start it is not there yet.
        try Deadline.wait(.seconds(5), for: "the control socket") {
            made = try? UnixConnection(path: socket)
            return made != nil
        }
        guard let connection = made else { throw HarnessError("no control socket") }
        connection.send(
            "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                + "Connection: close\r\n\r\n")
        let answer = connection.receiveAll(.after(.seconds(5)))
        guard answer.starts(with: Array("HTTP/1.1 20".utf8)),
            let head = answer.firstRange(of: Array("\r\n\r\n".utf8))
        else {
            throw HarnessError("\(method) \(path): \(String(decoding: answer, as: UTF8.self))")
        }
        return Array(answer[head.upperBound...])
    }
}

/// One connection to a Unix socket.
private final class UnixConnection {
    private let descriptor: Int32

    init(path: String) throws { descriptor = try RSPClient.connect(path: path) }

    deinit { close(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// Everything up to the end of the connection.
    func receiveAll(_ deadline: Deadline) -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, deadline.milliseconds) == 1 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            all += buffer[..<count]
        }
        return all
    }
}
