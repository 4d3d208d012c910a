import CUnicorn
import GuestModel
import Hypervisor

/// The memory whose use by the guest is reported, and the judge of each use.
///
/// Watched are linear addresses, and the engine shows physical ones. So the instruction is asked where
/// it may reach, and the guest's page tables where that leads. What no operand explains (the CPU reads
/// descriptor tables by itself) counts as a use of the watched address that leads there.
final class WatchedMemory {
    private let engine: Engine
    private let memory: GuestMemory
    private var watchpoints: [Watchpoint] = []
    /// What was used first since `takeHit`.
    private var hit: DebugExit?

    init(engine: Engine, memory: GuestMemory) {
        self.engine = engine
        self.memory = memory
    }

    /// - Returns: whether translated code has to be forgotten for it to take effect.
    func watch(_ new: [Watchpoint]) throws(HypervisorError) -> Bool {
        guard new != watchpoints else { return false }
        guard new.count <= watchpointsMax else {
            throw .tooManyBreakpoints(limit: watchpointsMax)
        }
        try engine.watch(new, judge: self)
        watchpoints = new
        hit = nil
        return true
    }

    func takeHit() -> DebugExit? {
        defer { hit = nil }
        return hit
    }

    /// Remembers a use through linear addresses that are known.
    func noteUse(at start: UInt64, byteCount: UInt64, isWrite: Bool) {
        guard hit == nil, byteCount > 0 else { return }
        let last = start &+ (byteCount - 1)
        for watchpoint in watchpoints where watchpoint.kind.isHit(byWrite: isWrite) {
            guard start <= watchpoint.last, last >= watchpoint.first else { continue }
            hit = .watchpoint(
                watchpoint.kind, GuestVirtualAddress(max(start, watchpoint.first)))
            return
        }
    }

    /// Whether `access` is a use of watched memory; if so `takeHit` tells which.
    func isHit(by access: PhysicalAccess) -> Bool {
        // Registers cannot fail to be read; if they did, a use would be missed and no more.
        guard let control = try? engine.control else { return false }
        let view = GuestView(memory, control: control)
        let candidates = watchpoints.filter { watchpoint in
            watchpoint.kind.isHit(byWrite: access.isWrite)
                && access.mayUse(watchpoint, seen: view)
        }
        guard !candidates.isEmpty else { return false }
        let explained = addresses(of: access, seen: view)
        for start in explained {
            noteUse(at: start, byteCount: access.byteCount, isWrite: access.isWrite)
        }
        if explained.isEmpty { noteUnexplained(access, candidates, view) }
        return hit != nil
    }

    /// The linear addresses at which the instruction may have made `access`.
    private func addresses(of access: PhysicalAccess, seen view: GuestView) -> [UInt64] {
        let code = view.bytes(at: access.instruction, byteCount: 15)
        return engine.reaches(of: code, at: access.instruction).compactMap { reach in
            guard access.isWrite ? reach.is_written != 0 : reach.is_read != 0 else { return nil }
            let start = access.firstAddress(from: reach.start)
            return start &- reach.start < reach.size && access.isMade(at: start, seen: view)
                ? start : nil
        }
    }

    private func noteUnexplained(
        _ access: PhysicalAccess, _ candidates: [Watchpoint], _ view: GuestView
    ) {
        for watchpoint in candidates {
            for start in access.addresses(using: watchpoint)
            where access.isMade(at: start, seen: view) {
                noteUse(at: start, byteCount: access.byteCount, isWrite: access.isWrite)
            }
        }
    }
}

/// An access of the guest as the engine shows it.
struct PhysicalAccess {
    /// The linear address of the instruction that makes it.
    let instruction: UInt64
    /// Where it begins in physical memory.
    let address: UInt64
    /// At least one; it may reach into the next linear page, wherever that leads.
    let byteCount: UInt64
    let isWrite: Bool

    private static let pageMask = UInt64(guestPageBytes - 1)

    /// The first linear address from `start` on that has the same place in its page.
    func firstAddress(from start: UInt64) -> UInt64 {
        start &+ ((address &- start) & Self.pageMask)
    }

    /// Whether the page tables lead from `start` to where the access begins.
    func isMade(at start: UInt64, seen view: GuestView) -> Bool {
        view.translation(of: start)?.physicalAddress.rawValue == address
    }

    /// Whether it can be a use of `watchpoint`; of a long one always, since to look at all its pages
    /// takes longer than to look at the instruction.
    func mayUse(_ watchpoint: Watchpoint, seen view: GuestView) -> Bool {
        let starts = addresses(using: watchpoint)
        return starts.count > Self.pagesLookedAt || starts.contains { isMade(at: $0, seen: view) }
    }

    private static let pagesLookedAt = 4

    /// Every linear address at which an access like this one uses bytes of `watchpoint`.
    func addresses(using watchpoint: Watchpoint) -> some RandomAccessCollection<UInt64> {
        let reach = byteCount - 1
        let earliest = watchpoint.first < reach ? 0 : watchpoint.first - reach
        let start = firstAddress(from: earliest)
        let isThere = start >= earliest && start <= watchpoint.last
        let count = isThere ? Int((watchpoint.last - start) / UInt64(guestPageBytes)) + 1 : 0
        return (0..<count).lazy.map { start + UInt64($0 * guestPageBytes) }
    }
}

extension WatchKind {
    /// Whether it is about reads.
    var isForReads: Bool { self != .write }
    /// Whether it is about writes.
    var isForWrites: Bool { self != .read }

    fileprivate func isHit(byWrite isWrite: Bool) -> Bool { isWrite ? isForWrites : isForReads }
}

extension Watchpoint {
    fileprivate var first: UInt64 { range.start.rawValue }
    /// A watchpoint has at least one byte and its range does not wrap.
    fileprivate var last: UInt64 { range.start.rawValue + UInt64(range.byteCount - 1) }
}
