import CLinux
import Glibc

/// Signals that arrive as input instead of interrupting.
package struct SignalQueue: ~Copyable {
    package let descriptor: OwnedDescriptor

    /// From now on these signals are only read here.
    ///
    /// Call it before any other thread exists.
    package init(_ signals: [Int32]) throws(SystemCallError) {
        descriptor = try .take(unsafe clinux_signalfd(signals, signals.count), from: "signalfd")
    }

    /// The next signal, or nil.
    package func next() -> Int32? {
        let number = clinux_take_signal(descriptor.rawValue)
        return number > 0 ? number : nil
    }
}

/// A counter that one thread waits for and others raise.
package struct WakeUp: ~Copyable, Sendable {
    package let descriptor: OwnedDescriptor

    package init() throws(SystemCallError) {
        descriptor = try .take(clinux_eventfd(), from: "eventfd")
    }

    /// Makes the descriptor readable.
    package func raise() {
        var one: UInt64 = 1
        // Fails only when the counter is full, and then it is readable anyway.
        _ = unsafe write(descriptor.rawValue, &one, 8)
    }

    /// Makes it unreadable again.
    package func clear() {
        var count: UInt64 = 0
        _ = unsafe read(descriptor.rawValue, &count, 8)
    }
}

/// The two ends of a pipe; neither blocks.
package struct Pipe: ~Copyable {
    package var reader: OwnedDescriptor?
    package var writer: OwnedDescriptor?

    package init() throws(SystemCallError) {
        var numbers: (Int32, Int32) = (-1, -1)
        try checked(unsafe clinux_pipe(&numbers.0, &numbers.1), "pipe")
        reader = OwnedDescriptor(numbers.0)
        writer = OwnedDescriptor(numbers.1)
    }
}

/// Reads lines from a pipe whose writer is not trusted.
package final class LineReader {
    /// A longer line is cut, in bytes.
    package static let lineBytesMax = 4096
    /// More lines than this in one piece are dropped and counted.
    package static let linesMax = 64

    private let descriptor: OwnedDescriptor
    private var buffer = [UInt8](repeating: 0, count: 4096)
    private var pending: [UInt8] = []
    private var isOpen = true

    package init(_ descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }

    /// The descriptor to wait for; -1 when the writer is gone.
    package var rawValue: Int32 { isOpen ? descriptor.rawValue : -1 }

    /// The whole lines that are there now, at most 64 of them and a word about the others; the rest
    /// of the last line comes with the end of the writer.
    package func lines() -> [String] {
        let count = unsafe buffer.withUnsafeMutableBytes {
            unsafe read(descriptor.rawValue, $0.baseAddress, $0.count)
        }
        guard count > 0 else {
            guard count == 0 else { return [] }
            isOpen = false
            defer { pending = [] }
            return pending.isEmpty ? [] : [String(decoding: pending, as: UTF8.self)]
        }
        var lines: [String] = []
        var lost = 0
        for byte in buffer.prefix(count) {
            if byte != UInt8(ascii: "\n") { pending.append(byte) }
            guard byte == UInt8(ascii: "\n") || pending.count >= Self.lineBytesMax else { continue }
            if lines.count < Self.linesMax {
                lines.append(String(decoding: pending, as: UTF8.self))
            } else {
                lost += 1
            }
            pending.removeAll(keepingCapacity: true)
        }
        if lost > 0 { lines.append("\(lost) more lines were dropped") }
        return lines
    }
}
