import GuestModel
import WireProtocol

/// What is known of a guest that stands, so that most questions cost no message.
struct StoppedGuest: Hashable, Sendable {
    enum Extended: Hashable, Sendable {
        case unknown
        /// Nil: the driver has none to show.
        case known(ExtendedState?)
    }

    let reason: StopReason
    var state: VCPUState
    var extended = Extended.unknown
    private var windows: [MemoryWindow]

    init(_ event: StopEvent) {
        reason = event.reason
        state = event.state
        windows = event.windows
    }

    /// Why it is kept for reading only; nil when it can go on.
    var crash: GuestCrash? {
        switch reason {
        case .crashed(let crash): crash
        case .entryPoint, .attached, .interrupted, .stepped, .softwareBreakpoint,
            .hardwareBreakpoint, .watchpoint, .guestTrap:
            nil
        }
    }

    var isCrashed: Bool { crash != nil }

    /// The bytes at `address` if a window holds all of them.
    func memory(at address: GuestVirtualAddress, byteCount: Int) -> ArraySlice<UInt8>? {
        for window in windows where address >= window.start {
            let offset = address.rawValue - window.start.rawValue
            let count = UInt64(window.bytes.count)
            if offset <= count, UInt64(byteCount) <= count - offset {
                return window.bytes[Int(offset)..<Int(offset) + byteCount]
            }
        }
        return nil
    }

    /// Forgets the windows, after a write to memory.
    mutating func forgetMemory() {
        windows = []
    }
}
