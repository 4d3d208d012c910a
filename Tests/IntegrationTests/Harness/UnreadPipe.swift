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

    /// From now on nobody could read it.
    func breakOff() {
        guard descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
    }
}
