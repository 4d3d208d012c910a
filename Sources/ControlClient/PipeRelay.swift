import Glibc
package import LinuxSystem

/// Carries bytes between a debugger at the other ends of two descriptors and a connection, both ways
/// and as they are, until one of them is done.
///
/// One loop, no threads; at most one buffer is held for each direction, so that a side that does not
/// read slows the other down and costs nothing else.
package struct PipeRelay: ~Copyable {
    /// How a relay ended.
    package enum End: Hashable, Sendable {
        /// One side closed, and the other was given what was left.
        case finished
        /// The debugger takes nothing any more.
        case outputClosed
        case outputFailed(SystemCallError)
    }

    /// How long the connection may go on after the debugger has closed its side.
    package static let patience: UInt64 = 5_000_000_000

    private let input: Int32
    private let output: Int32
    private let connection: OwnedDescriptor
    private let patience: UInt64

    private var inputState = InputState.open
    /// On its way to the connection.
    private var outgoing: ArraySlice<UInt8> = []
    /// On its way to the debugger.
    private var incoming: ArraySlice<UInt8> = []
    private var isConnectionEnded = false
    private var buffer = [UInt8](repeating: 0, count: 65536)

    private enum InputState: Hashable {
        case open
        /// Nothing more comes; what came may still have to go out.
        case ended
        /// The connection was told so too.
        case passedOn(deadline: UInt64)
    }

    /// `input` and `output` stay the caller's, and may be one socket; `connection` must not block.
    package init(
        input: Int32, output: Int32, connection: consuming OwnedDescriptor,
        patience: UInt64 = PipeRelay.patience
    ) {
        self.input = input
        self.output = output
        self.connection = connection
        self.patience = patience
    }

    package mutating func run() -> End {
        while true {
            if let end = pass() { return end }
            if case .passedOn(let deadline) = inputState, monotonicNanoseconds() >= deadline {
                return .finished
            }
            wait()
        }
    }

    // MARK: Waiting

    private enum Slot {
        static let input = 0
        static let connection = 1
        static let output = 2
    }

    private var entries = [pollfd](repeating: pollfd(fd: -1, events: 0, revents: 0), count: 3)

    private mutating func wait() {
        let mayRead = inputState == .open && outgoing.isEmpty
        entries[Slot.input] = pollfd(fd: mayRead ? input : -1, events: Int16(POLLIN), revents: 0)
        let events = (incoming.isEmpty ? POLLIN : 0) | (outgoing.isEmpty ? 0 : POLLOUT)
        // Its end is always readable, and would end every wait.
        let isWatched = !isConnectionEnded && events != 0
        entries[Slot.connection] = pollfd(
            fd: isWatched ? connection.rawValue : -1, events: Int16(events), revents: 0)
        // Also without anything to write: a pipe that nobody reads any more says so.
        entries[Slot.output] = pollfd(
            fd: output, events: incoming.isEmpty ? 0 : Int16(POLLOUT), revents: 0)
        // A signal that comes ends the wait early, which does no harm.
        _ = poll(&entries, nfds_t(entries.count), timeout)
    }

    private var timeout: Int32 {
        guard case .passedOn(let deadline) = inputState else { return -1 }
        let now = monotonicNanoseconds()
        return now >= deadline ? 0 : Int32(clamping: (deadline - now) / 1_000_000 + 1)
    }

    // MARK: Passing on

    /// Moves what is there; how it ended, if it did.
    private mutating func pass() -> End? {
        takeInput()
        sendOutgoing()
        receiveIncoming()
        let isOutputGone =
            Int32(entries[Slot.output].revents) & (POLLERR | POLLHUP | POLLNVAL) != 0
        if let end = isOutputGone ? .outputClosed : writeIncoming() {
            passLastInput()
            return end
        }
        return isConnectionEnded && incoming.isEmpty ? .finished : nil
    }

    /// A debugger that goes may have said something just before, such as to kill its guest.
    private mutating func passLastInput() {
        while inputState == .open, outgoing.isEmpty {
            entries[Slot.input] = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
            guard poll(&entries[Slot.input], 1, 0) == 1 else { return }
            takeInput()
            sendOutgoing()
        }
    }

    private mutating func takeInput() {
        guard entries[Slot.input].revents != 0, outgoing.isEmpty else { return }
        entries[Slot.input].revents = 0
        let count = read(input, &buffer, buffer.count)
        if count > 0 {
            outgoing = buffer[..<count]
        } else if count == 0 || ![EINTR, EAGAIN].contains(errno) {
            inputState = .ended
        }
    }

    private mutating func sendOutgoing() {
        while !outgoing.isEmpty {
            switch LinuxSystem.send(connection, outgoing) {
            case .bytes(let count): outgoing = outgoing.dropFirst(count)
            case .full: return
            case .ended:
                // What it said before it went is still to be heard.
                outgoing = []
                inputState = .passedOn(deadline: monotonicNanoseconds() + patience)
            }
        }
        guard inputState == .ended else { return }
        inputState = .passedOn(deadline: monotonicNanoseconds() + patience)
        _ = shutdown(connection.rawValue, Int32(SHUT_WR))
    }

    private mutating func receiveIncoming() {
        guard incoming.isEmpty, !isConnectionEnded else { return }
        switch LinuxSystem.receive(connection, into: &buffer) {
        case .bytes(let count): incoming = buffer[..<count]
        case .nothing: break
        case .ended: isConnectionEnded = true
        }
    }

    /// What POSIX promises a pipe takes without waiting when it takes anything.
    private static let pipeBytesMax = 4096

    /// Never waits, although the descriptor may be a blocking one that others share.
    private mutating func writeIncoming() -> End? {
        while !incoming.isEmpty {
            var entry = pollfd(fd: output, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, 0) == 1 else { return nil }
            let count = incoming.prefix(Self.pipeBytesMax).withUnsafeBytes { bytes in
                let sent = Glibc.send(
                    output, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
                guard sent < 0, errno == ENOTSOCK else { return sent }
                return write(output, bytes.baseAddress, bytes.count)
            }
            if count > 0 {
                incoming = incoming.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: return nil
            case EPIPE, ECONNRESET: return .outputClosed
            case let code: return .outputFailed(SystemCallError("write", code: code))
            }
        }
        return nil
    }
}
