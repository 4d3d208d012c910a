import Jail
import LinuxListening
import LinuxSystem

/// Hears of the forbidden system calls of one child.
struct ViolationWatch: ~Copyable {
    private var channel: OwnedDescriptor?
    private var listener: SeccompListener?

    /// Takes over the end of the socket on which the child will send its listener.
    init(_ channel: consuming OwnedDescriptor) { self.channel = consume channel }

    /// What to wait for input on; -1 when nothing is to come.
    var rawValue: Int32 {
        switch listener {
        case .some(let listener): return listener.rawValue
        case .none: break
        }
        switch channel {
        case .some(let channel): return channel.rawValue
        case .none: return -1
        }
    }

    /// Looks without waiting: the call that the child made, and for which it now waits.
    mutating func look() -> ForbiddenCall? {
        var set = PollSet([rawValue])
        guard rawValue >= 0, set.wait(milliseconds: 0) > 0 else { return nil }
        if let channel = channel.take() {
            // A child that ends before it is confined sends none.
            guard let received = try? receiveDescriptor(channel) else { return nil }
            listener = SeccompListener(received)
            return nil
        }
        // None when the call was interrupted meanwhile; the caller makes it again. Without the listener
        // it would only fail, so it is kept as long as the child lives.
        return listener?.next()
    }

    /// Whether a forbidden call would be heard of.
    var isListening: Bool { listener != nil }
}
