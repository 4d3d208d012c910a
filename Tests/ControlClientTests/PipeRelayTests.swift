import Foundation
import Glibc
import LinuxSystem
import Testing

@testable import ControlClient

/// One relay on a thread of its own, with a test at all of its ends.
private final class RunningRelay: @unchecked Sendable {
    /// What a debugger writes to, and reads from.
    let writer: FileDescriptor
    let reader: FileDescriptor
    /// The stub's side.
    let stub: FileDescriptor
    private let done = DispatchSemaphore(value: 0)
    private var end: PipeRelay.End?

    enum Kind: CaseIterable { case pipes, socket }

    init(_ kind: Kind, patience: UInt64 = 30_000_000_000) throws {
        let (input, output): (Int32, Int32)
        switch kind {
        case .pipes:
            let (first, second) = (try Self.pair { pipe($0) }, try Self.pair { pipe($0) })
            (input, writer) = (first.0, FileDescriptor(first.1))
            (reader, output) = (FileDescriptor(second.0), second.1)
        case .socket:
            // As gdb does it: one socket for both.
            let pair = try Self.pair { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, $0) }
            (input, output) = (pair.0, Self.copy(pair.0))
            writer = FileDescriptor(pair.1)
            reader = FileDescriptor(Self.copy(pair.1))
        }
        let stream = Int32(SOCK_STREAM.rawValue)
        let pair = try Self.pair { socketpair(AF_UNIX, stream, 0, $0) }
        stub = FileDescriptor(pair.1)
        _ = fcntl(pair.0, F_SETFL, O_NONBLOCK)
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread { [self] in
            var relay = PipeRelay(
                input: input, output: output, connection: OwnedDescriptor(pair.0),
                patience: patience)
            end = relay.run()
            close(input)
            close(output)
            done.signal()
        }
    }

    private static func copy(_ descriptor: Int32) -> Int32 {
        fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    }

    private static func pair(_ make: (UnsafeMutablePointer<Int32>) -> Int32) throws
        -> (Int32, Int32)
    {
        var ends: [Int32] = [0, 0]
        try #require(make(&ends) == 0)
        // A program that another test starts must not keep them open.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    /// How it ended; nil when it still runs after ten seconds.
    func waitForEnd() -> PipeRelay.End? {
        done.wait(timeout: .now() + 10) == .success ? end : nil
    }
}

/// A descriptor that a test reads, writes and closes, with ten seconds for each.
private final class FileDescriptor: @unchecked Sendable {
    private let number: Int32
    private var isClosed = false

    init(_ number: Int32) { self.number = number }

    deinit { close() }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        Glibc.close(number)
    }

    private func waits(for events: Int32) -> Bool {
        var entry = pollfd(fd: number, events: Int16(events), revents: 0)
        return poll(&entry, 1, 10_000) == 1
    }

    /// Everything, or false.
    func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard waits(for: POLLOUT) else { return false }
            let count = rest.prefix(4096).withUnsafeBytes {
                Glibc.write(number, $0.baseAddress, $0.count)
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// This many bytes, or what there is up to the end.
    func read(_ count: Int) -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while all.count < count, waits(for: POLLIN) {
            let taken = Glibc.read(number, &buffer, min(buffer.count, count - all.count))
            guard taken > 0 else { break }
            all += buffer[..<taken]
        }
        return all
    }

    func endWriting() { shutdown(number, Int32(SHUT_WR)) }
    func endReading() { shutdown(number, Int32(SHUT_RD)) }
}

@Suite struct PipeRelayTests {
    private static let allBytes = [UInt8](0...255)

    @Test(arguments: RunningRelay.Kind.allCases)
    fileprivate func `every byte passes as it is, both ways`(_ kind: RunningRelay.Kind) throws {
        let relay = try RunningRelay(kind)
        #expect(relay.writer.write(Self.allBytes))
        #expect(relay.stub.read(256) == Self.allBytes)
        #expect(relay.stub.write(Self.allBytes))
        #expect(relay.reader.read(256) == Self.allBytes)
    }

    @Test(arguments: RunningRelay.Kind.allCases)
    fileprivate func `megabytes pass both ways at once, in order, whoever is slow`(
        _ kind: RunningRelay.Kind
    ) throws {
        let relay = try RunningRelay(kind)
        let bytes = (0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
        let sent = DispatchSemaphore(value: 0)
        // Nobody reads before both directions are full.
        for side in [relay.writer, relay.stub] {
            Thread.detachNewThread {
                let isSent = side.write(bytes)
                #expect(isSent)
                sent.signal()
            }
        }
        let read = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            let isWhole = relay.stub.read(bytes.count) == bytes
            #expect(isWhole)
            read.signal()
        }
        let isWhole = relay.reader.read(bytes.count) == bytes
        #expect(isWhole)
        #expect(read.wait(timeout: .now() + 10) == .success)
        for _ in 0..<2 { #expect(sent.wait(timeout: .now() + 10) == .success) }
    }

    @Test(arguments: RunningRelay.Kind.allCases)
    fileprivate func `a debugger that has said all still hears the rest`(
        _ kind: RunningRelay.Kind
    ) throws {
        let relay = try RunningRelay(kind)
        #expect(relay.writer.write([1, 2, 3]))
        switch kind {
        case .pipes: relay.writer.close()
        case .socket: relay.writer.endWriting()
        }
        #expect(relay.stub.read(100) == [1, 2, 3])
        #expect(relay.stub.write(Self.allBytes))
        relay.stub.close()
        #expect(relay.reader.read(1000) == Self.allBytes)
        #expect(relay.waitForEnd() == .finished)
    }

    @Test(arguments: RunningRelay.Kind.allCases)
    fileprivate func `the last words of a stub arrive, and are the end`(
        _ kind: RunningRelay.Kind
    ) throws {
        let relay = try RunningRelay(kind)
        // More than all that is between the two can hold.
        let bytes = [UInt8](repeating: 7, count: 1 << 20)
        Thread.detachNewThread {
            let isSent = relay.stub.write(bytes)
            #expect(isSent)
            relay.stub.close()
        }
        let isWhole = relay.reader.read(bytes.count + 1) == bytes
        #expect(isWhole)
        #expect(relay.waitForEnd() == .finished)
    }

    @Test func `a stub that takes no more is still heard`() throws {
        let relay = try RunningRelay(.pipes)
        relay.stub.endReading()
        #expect(relay.writer.write([1]))
        #expect(relay.stub.write([2]))
        #expect(relay.reader.read(1) == [2])
        relay.stub.close()
        #expect(relay.waitForEnd() == .finished)
    }

    @Test(arguments: RunningRelay.Kind.allCases)
    fileprivate func `a debugger that is gone ends it, and the stub sees that`(
        _ kind: RunningRelay.Kind
    ) throws {
        let relay = try RunningRelay(kind)
        relay.reader.close()
        if kind == .socket { relay.writer.close() }
        #expect(relay.stub.read(1) == [])
        #expect(relay.waitForEnd() == .outputClosed)
    }

    @Test(arguments: RunningRelay.Kind.allCases)
    fileprivate func `what a debugger says just before it goes arrives`(
        _ kind: RunningRelay.Kind
    ) throws {
        let relay = try RunningRelay(kind)
        let bytes = [UInt8](repeating: 9, count: 4096)
        let isSent = relay.writer.write(bytes)
        relay.writer.close()
        relay.reader.close()
        let isWhole = relay.stub.read(bytes.count + 1) == bytes
        #expect(isSent && isWhole)
        #expect(relay.waitForEnd() != nil)
    }

    @Test func `a stub that does not end is not waited for for ever`() throws {
        let relay = try RunningRelay(.pipes, patience: 50_000_000)
        relay.writer.close()
        #expect(relay.stub.read(1) == [])
        #expect(relay.waitForEnd() == .finished)
    }

    @Test func `output that fails is told`() throws {
        let (input, full) = (open("/dev/null", O_WRONLY), open("/dev/full", O_WRONLY))
        defer {
            close(input)
            close(full)
        }
        var pair: [Int32] = [0, 0]
        try #require(
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0
        )
        defer { close(pair[1]) }
        #expect(write(pair[1], "x", 1) == 1)
        var relay = PipeRelay(input: input, output: full, connection: OwnedDescriptor(pair[0]))
        #expect(relay.run() == .outputFailed(SystemCallError("write", code: ENOSPC)))
    }
}
