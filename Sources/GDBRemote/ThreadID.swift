/// A thread-id as clients write it: which process, which thread of it.
///
/// - Source: gdb manual, node "Packets", "thread-id syntax".
package struct ThreadID: Hashable, Sendable {
    package enum Selector: Hashable, Sendable {
        /// `0`, or not given.
        case any
        /// `-1`.
        case all
        case number(UInt64)
    }

    package var process: Selector
    package var thread: Selector

    package init(process: Selector, thread: Selector) {
        self.process = process
        self.thread = thread
    }
}

/// The one process and the one thread that a stub shows: its sandbox and the vCPU.
package struct TargetIdentity: Hashable, Sendable {
    /// The vCPU's thread number.
    package static let thread: UInt64 = 1

    /// What clients are shown as the process id.
    package let process: UInt64

    /// `process` should be above Linux's largest process id (0x400000), so that a client which
    /// signals "the process" on its own machine hits nobody.
    package init(process: UInt64) {
        self.process = process
    }

    /// Whether `id` means this vCPU (or all, or any).
    package func matches(_ id: ThreadID) -> Bool {
        matches(id.process, process) && matches(id.thread, Self.thread)
    }

    private func matches(_ selector: ThreadID.Selector, _ number: UInt64) -> Bool {
        switch selector {
        case .any, .all: true
        case .number(let wanted): wanted == number
        }
    }
}

extension BodyReader {
    /// `1`, `0001`, `-1`, `p400001.1`, `p400001`, `p0.0`, `p-1`.
    mutating func threadID() throws(PacketError) -> ThreadID {
        do throws(PacketError) {
            guard take("p") else { return ThreadID(process: .any, thread: try selector()) }
            let process = try selector()
            return ThreadID(process: process, thread: take(".") ? try selector() : .all)
        } catch {
            throw .noSuchThread
        }
    }

    private mutating func selector() throws(PacketError) -> ThreadID.Selector {
        if take(prefix: "-1") { return .all }
        let number = try hexNumber()
        return number == 0 ? .any : .number(number)
    }
}
