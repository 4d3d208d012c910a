import GDBRemote
import GuestModel
import WireProtocol

/// A request to the worker, with what its reply is wanted for.
enum OutstandingRequest: Hashable, Sendable {
    /// Until `attached`; the stop comes after it.
    case attach
    case memory(MemoryForm)
    case checksum(MemoryChecksum)
    case search(MemorySearch)
    case memoryWrite
    /// The registers as they will be, and how to go on after that.
    case registerWrite(VCPUState, thenResume: ResumeMode?)
    /// As `registerWrite`, with x87 and SSE registers; nil leaves those as they are.
    case stateWrite(VCPUState, ExtendedState?)
    /// Of a breakpoint or watchpoint.
    case insertion(undoneBy: DebugRequest)
    /// The same; most go without being waited for.
    case removal
    /// Nil when it was asked for ahead of the client.
    case extendedState(Command?)
    case region
    case report
    /// Until `done`; the stop comes after it, and is told to a client that waits for it.
    case restart(wantsReply: Bool)
    case detach(DetachFollowUp)
    /// Given up by the client's side; its reply will be dropped.
    case abandoned

    /// Whether the client waits for the reply.
    var hasClientWaiting: Bool {
        switch self {
        case .memory, .checksum, .search, .memoryWrite, .registerWrite, .stateWrite, .insertion,
            .removal, .region, .report:
            true
        case .extendedState(let command): command != nil
        case .restart(let wantsReply): wantsReply
        case .attach, .detach, .abandoned: false
        }
    }
}

/// What to do when the worker has let the guest go.
enum DetachFollowUp: Hashable, Sendable {
    case nothing
    /// The client waits for `OK`.
    case replyDone
    /// lldb waits for a stop reply after `k`.
    case replyKilled
    /// gdb does not read after `k`.
    case close
}

struct PlannedDetach: Hashable, Sendable {
    var mode: DetachMode
    var followUp: DetachFollowUp
}

/// A `qCRC` under way.
struct MemoryChecksum: Hashable, Sendable {
    /// Bytes asked of the worker at once.
    static let pieceBytes: UInt64 = 65536

    private(set) var address: GuestVirtualAddress
    private(set) var left: UInt64
    private(set) var checksum = CRC32()

    init(_ address: GuestVirtualAddress, byteCount: UInt64) {
        self.address = address
        left = byteCount
    }

    /// The next piece to read.
    var pieceCount: UInt32 { UInt32(min(left, Self.pieceBytes)) }

    /// Takes a piece; false if it is shorter than asked.
    mutating func add(_ bytes: [UInt8]) -> Bool {
        guard bytes.count == Int(pieceCount) else { return false }
        checksum.add(bytes.span)
        address.rawValue &+= UInt64(bytes.count)
        left -= UInt64(bytes.count)
        return true
    }
}
