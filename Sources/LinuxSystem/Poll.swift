import Glibc

/// Descriptors to wait for, and what became of them.
///
/// The order is the caller's; a number below zero keeps its place and is never ready.
package struct PollSet: Sendable {
    private var entries: [pollfd]

    /// Waits for input on each of `descriptors`.
    package init(_ descriptors: [Int32]) {
        entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    }

    /// Replaces the descriptor at `index`; -1 for none.
    ///
    /// With `forOutput` only room for output is waited for: input that nobody takes would end
    /// every wait at once.
    package mutating func watch(_ descriptor: Int32, at index: Int, forOutput: Bool = false) {
        entries[index] = pollfd(
            fd: descriptor, events: Int16(forOutput ? POLLOUT : POLLIN), revents: 0)
    }

    /// Waits until something is ready, the time is over, or a signal came.
    ///
    /// - Parameter milliseconds: -1 waits for ever, 0 only looks.
    /// - Returns: how many are ready; 0 also for a signal.
    @discardableResult
    package mutating func wait(milliseconds: Int32) -> Int {
        let count = unsafe poll(&entries, nfds_t(entries.count), milliseconds)
        guard count > 0 else {
            for index in entries.indices { entries[index].revents = 0 }
            return 0
        }
        return Int(count)
    }

    /// Whether reading would not block, which includes the end of the other side.
    package func isReadable(_ index: Int) -> Bool {
        Int32(entries[index].revents) & (POLLIN | POLLHUP | POLLERR) != 0
    }

    package func isWritable(_ index: Int) -> Bool {
        Int32(entries[index].revents) & (POLLOUT | POLLHUP | POLLERR) != 0
    }
}

/// Whether the other end of a socket is closed.
package func isHungUp(_ descriptor: Int32) throws(SystemCallError) -> Bool {
    var entry = pollfd(fd: descriptor, events: 0, revents: 0)
    // Even a call that only looks is interrupted when a signal comes at the wrong moment.
    while unsafe poll(&entry, 1, 0) < 0 {
        guard errno == EINTR else { throw SystemCallError("poll", code: errno) }
    }
    return Int32(entry.revents) & POLLHUP != 0
}

/// Time on a clock that never jumps, in nanoseconds since an arbitrary point.
package func monotonicNanoseconds() -> UInt64 {
    var now = timespec()
    // The call fails only for clocks that do not exist.
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

/// Waits for input on one descriptor for at most this long; false when the time is over.
package func waitForInput(_ descriptor: borrowing OwnedDescriptor, milliseconds: Int32) -> Bool {
    var set = PollSet([descriptor.rawValue])
    let deadline = monotonicNanoseconds() + UInt64(max(0, milliseconds)) * 1_000_000
    while true {
        let now = monotonicNanoseconds()
        let left = now >= deadline ? 0 : Int32((deadline - now + 999_999) / 1_000_000)
        if set.wait(milliseconds: left) > 0 { return true }
        if left == 0 { return false }
    }
}
