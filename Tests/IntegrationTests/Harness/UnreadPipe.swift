import Foundation
import Glibc

/// A pipe with a name that is full, so that nothing more goes in.
final class UnreadPipe {
    let path: String
    private let folder: String
    private var descriptor: Int32

    init() throws {
        folder = try RunningSupervisor.makeFolder()
        path = folder + "/pipe"
        guard mkfifo(path, 0o600) == 0 else { throw HarnessError("mkfifo \(path)") }
        descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw HarnessError("open \(path)") }
        let bytes = [UInt8](repeating: UInt8(ascii: "."), count: 65536)
        while write(descriptor, bytes, bytes.count) > 0 {}
        while write(descriptor, bytes, 1) > 0 {}
    }

    deinit {
        breakOff()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Reads what is there until it holds this text; nil when it does not in time.
    func read(until text: String, _ duration: Duration) -> String? {
        let deadline = Deadline.after(duration)
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while !deadline.isOver {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, deadline.milliseconds) == 1 else { return nil }
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count > 0 { all += buffer[..<count] }
            let said = String(decoding: all.drop { $0 == UInt8(ascii: ".") }, as: UTF8.self)
            if said.contains(text) { return said }
        }
        return nil
    }

    /// From now on nobody could read it.
    func breakOff() {
        guard descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
    }
}
