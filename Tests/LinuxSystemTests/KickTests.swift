import Glibc
import LinuxSystem
import Testing

/// The handler belongs to the whole process, so one test at a time.
@Suite(.serialized) struct KickTests {
    @Test func `input on a claimed socket raises the signal`() throws {
        let watched = try Pair()
        let report = try Pair()
        try installReporter(to: report.theirs)
        try KickSignal.claim(watched.ours)
        try KickSignal.setEnabled(true, on: watched.ours)
        #expect(send(watched.theirs, [1]) == .bytes(1))
        let isRaised = waitForInput(report.ours, milliseconds: 10_000)
        #expect(isRaised)
    }

    @Test func `a socket that is turned off raises nothing`() throws {
        let watched = try Pair()
        let report = try Pair()
        try installReporter(to: report.theirs)
        try KickSignal.claim(watched.ours)
        try KickSignal.setEnabled(true, on: watched.ours)
        try KickSignal.setEnabled(false, on: watched.ours)
        #expect(send(watched.theirs, [1]) == .bytes(1))
        // The alarm comes later, so its report is the first one.
        var buffer: [UInt8] = [0, 0]
        #expect(receive(report.ours, into: &buffer) == .nothing)
        KickSignal.raise(afterMicroseconds: 1000)
        let isRaised = waitForInput(report.ours, milliseconds: 10_000)
        #expect(isRaised)
        #expect(receive(report.ours, into: &buffer) == .bytes(1))
        #expect(receive(report.ours, into: &buffer) == .nothing)
    }

    /// Lets each signal send one byte to `socket`.
    private func installReporter(to socket: borrowing OwnedDescriptor) throws {
        // The handler stays installed, so what it points to is never given back.
        let number = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        number.initialize(to: socket.rawValue)
        try KickSignal.install(
            function: { argument in
                guard let argument else { return }
                var byte: UInt8 = 1
                _ = Glibc.send(
                    argument.load(as: Int32.self), &byte, 1, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }, argument: number)
    }
}
