import GuestModel
import Hypervisor
import WireProtocol

/// The breakpoints and watchpoints of one debug session, and the bytes under those that are patched
/// into memory.
///
/// Patching happens in guest memory only for drivers that need it; the client never sees it: reads
/// show the original byte, writes change the original byte. A breakpoint belongs to a virtual address:
/// when the guest maps another page there, or its copy of the page, the breakpoint follows at the next
/// stop or resume. Until then a copy has the breakpoint instruction too, and any other page has none.
/// While it is patched into a place that is mapped at another address too, it hits there as well.
struct BreakpointTable {
    /// Software breakpoints in one session; more is a mistake or an attack.
    static let softwareMax = 1024

    private static let breakpointInstruction: UInt8 = 0xCC

    /// Whether a debugger is there to be told of the guest's own `int3`.
    private var hasClient = false
    private var hardware: [GuestVirtualAddress] = []
    /// Where each is patched into memory; nil where the driver needs no patch or a patch is of no use.
    ///
    /// What may not be executed faults before its bytes are looked at: that takes a debug register.
    private var software: [GuestVirtualAddress: GuestPhysicalAddress?] = [:]
    /// In the order in which they came.
    private var watchpoints: [Watchpoint] = []
    /// The byte under each patch; two addresses that are mapped to one place share one.
    private var originals: [GuestPhysicalAddress: UInt8] = [:]
    /// Where the worker itself wants the guest to stop for a moment; the client knows nothing of it.
    private var ownStop: GuestVirtualAddress?

    /// Whether the guest would stop at `address` again and again instead of executing it.
    func stops(at address: GuestVirtualAddress, in guest: Guest) -> Bool {
        kind(at: address, in: guest) != nil || address == ownStop
    }

    /// What stops the guest at `address`; a patch does so at every address of its place.
    func kind(at address: GuestVirtualAddress, in guest: Guest) -> BreakpointKind? {
        if software[address] != nil || patchedPlace(of: address, in: guest) != nil {
            return .software
        }
        return hardware.contains(address) ? .hardware : nil
    }

    /// Where `address` lies if a patch is there: that of its own breakpoint, or of one at another
    /// address of the same place.
    private func patchedPlace(
        of address: GuestVirtualAddress, in guest: Guest
    ) -> GuestPhysicalAddress? {
        guard !originals.isEmpty, let place = guest.physicalAddress(of: address),
            originals[place] != nil
        else { return nil }
        return place
    }

    /// Puts a breakpoint in; one that the driver refuses leaves no trace.
    mutating func insert(
        _ kind: BreakpointKind, at address: GuestVirtualAddress, in guest: Guest
    ) throws(DebugRefusal) {
        switch kind {
        case .hardware:
            guard !hardware.contains(address) else { return }
            guard hardware.count < hardwareBreakpointsMax else { throw .noFreeDebugRegister }
            hardware.append(address)
        case .software:
            guard software[address] == nil else { return }
            guard software.count < Self.softwareMax else { throw .tooManyBreakpoints }
            software[address] = .some(try patch(at: address, in: guest))
        }
        do throws(DebugRefusal) {
            try apply(to: guest)
        } catch {
            takeOut(kind, at: address, in: guest)
            throw error
        }
    }

    /// Patches the byte at `address`; answers where it is, or nil when there is to be no patch.
    private mutating func patch(
        at address: GuestVirtualAddress, in guest: Guest
    ) throws(DebugRefusal) -> GuestPhysicalAddress? {
        guard let translation = guest.translation(of: address),
            let byte = guest.memory.readUInt8(at: translation.physicalAddress)
        else { throw .notMapped }
        let place = translation.physicalAddress
        guard guest.vcpu.patchesSoftwareBreakpoints, translation.isExecutable else { return nil }
        guard originals[place] == nil else { return place }
        guard guest.memory.write([Self.breakpointInstruction], at: place) else { throw .notMapped }
        originals[place] = byte
        return place
    }

    /// Makes the guest stop at `address` too, or no longer; false when the driver has no room for it.
    mutating func setOwnStop(_ address: GuestVirtualAddress?, in guest: Guest) -> Bool {
        ownStop = address
        do throws(DebugRefusal) {
            try apply(to: guest)
            return true
        } catch {
            ownStop = nil
            return false
        }
    }

    mutating func remove(
        _ kind: BreakpointKind, at address: GuestVirtualAddress, in guest: Guest
    ) throws(DebugRefusal) {
        takeOut(kind, at: address, in: guest)
        try apply(to: guest)
    }

    /// Puts a watchpoint in, all of it; one that the driver refuses leaves no trace.
    mutating func insert(_ watchpoint: Watchpoint, in guest: Guest) throws(DebugRefusal) {
        guard !watchpoints.contains(watchpoint) else { return }
        guard watchpoints.count < watchpointsMax, watchpoint.range.byteCount <= watchedBytesMax
        else { throw .noFreeDebugRegister }
        watchpoints.append(watchpoint)
        do throws(DebugRefusal) {
            try apply(to: guest)
        } catch {
            watchpoints.removeLast()
            throw error
        }
    }

    mutating func remove(_ watchpoint: Watchpoint, in guest: Guest) throws(DebugRefusal) {
        watchpoints.removeAll { $0 == watchpoint }
        try apply(to: guest)
    }

    /// Begins a session: from now on every `int3` is a stop.
    mutating func clientCame(in guest: Guest) throws(DebugRefusal) {
        hasClient = true
        try apply(to: guest)
    }

    /// Ends the session and takes every breakpoint out; guest memory is as if none had been.
    mutating func clientLeft(in guest: Guest) throws(DebugRefusal) {
        hasClient = false
        ownStop = nil
        for address in software.keys { takeOut(.software, at: address, in: guest) }
        hardware = []
        watchpoints = []
        try apply(to: guest)
    }

    private mutating func takeOut(
        _ kind: BreakpointKind, at address: GuestVirtualAddress, in guest: Guest
    ) {
        switch kind {
        case .hardware: hardware.removeAll { $0 == address }
        case .software:
            follow(address, in: guest)
            guard case .some(.some(let place)) = software.removeValue(forKey: address) else {
                return
            }
            restore(place, in: guest)
        }
    }

    /// Puts the original byte back, unless another breakpoint needs the patch.
    private mutating func restore(_ place: GuestPhysicalAddress, in guest: Guest) {
        guard !software.values.contains(place),
            let original = originals.removeValue(forKey: place),
            // What the guest has written over the patch stays.
            guest.memory.readUInt8(at: place) == Self.breakpointInstruction
        else { return }
        // The byte was readable a moment ago, so it has memory and the write cannot fail.
        _ = guest.memory.write([original], at: place)
    }

    // MARK: Pages that come and go

    /// Puts every breakpoint into the page that is mapped at its address now.
    mutating func follow(in guest: Guest) {
        guard guest.vcpu.patchesSoftwareBreakpoints else { return }
        for address in software.keys { follow(address, in: guest) }
    }

    private mutating func follow(_ address: GuestVirtualAddress, in guest: Guest) {
        guard case .some(.some(let old)) = software[address],
            let place = guest.physicalAddress(of: address),
            let byte = guest.memory.readUInt8(at: place)
        else { return }
        if byte != Self.breakpointInstruction {
            guard guest.memory.write([Self.breakpointInstruction], at: place) else { return }
            originals[place] = byte
            guest.vcpu.codeChanged()
        } else if originals[place] == nil {
            // The guest has copied the page with our byte in it, or this page has an `int3` of its own.
            let isOurs = isCopy(place, of: old, in: guest)
            originals[place] = isOurs ? originals[old] ?? byte : byte
        }
        guard place != old else { return }
        software[address] = .some(place)
        restore(old, in: guest)
    }

    /// Whether the code around `place` is that around `old`, as in a copy of its page.
    ///
    /// The rest of the page says nothing: a guest copies a page because it is about to write to it.
    private func isCopy(
        _ place: GuestPhysicalAddress, of old: GuestPhysicalAddress, in guest: Guest
    ) -> Bool {
        let page = UInt64(guestPageBytes - 1)
        let first = old.rawValue - min(old.rawValue & page, Self.surroundingBytes)
        let last = min(old.rawValue + Self.surroundingBytes, old.rawValue | page)
        return (first...last).allSatisfy { address in
            let here = GuestPhysicalAddress(address &+ (place.rawValue &- old.rawValue))
            let there = GuestPhysicalAddress(address)
            guard there != old else { return true }
            guard let copy = guest.memory.readUInt8(at: here),
                let byte = guest.memory.readUInt8(at: there)
            else { return false }
            // Of several breakpoints some have followed, and some have not.
            return copy == byte || original(of: copy, at: here) == original(of: byte, at: there)
        }
    }

    /// As many as the longest instruction has, and one.
    private static let surroundingBytes: UInt64 = 16

    // MARK: Over a breakpoint

    /// Takes the breakpoint at `address` out for one instruction while `body` runs.
    mutating func withoutBreakpoint<Result>(
        at address: GuestVirtualAddress, in guest: Guest,
        _ body: () throws(HypervisorError) -> Result
    ) throws(HypervisorError) -> Result {
        follow(address, in: guest)
        let place = patchedPlace(of: address, in: guest)
        if let place, let original = originals[place] {
            _ = guest.memory.write([original], at: place)
        }
        // Whatever happens to the one instruction, the session's breakpoints are its own again.
        defer { putBack(at: place, in: guest) }
        try guest.vcpu.setBreakpoints(breakpoints(of: guest, except: address))
        let result = try body()
        try guest.vcpu.setBreakpoints(breakpoints(of: guest, except: nil))
        return result
    }

    /// Patches a byte again; what it holds now, which the instruction may have written, lies under it.
    private mutating func putBack(at place: GuestPhysicalAddress?, in guest: Guest) {
        guard let place, let byte = guest.memory.readUInt8(at: place) else { return }
        originals[place] = byte
        _ = guest.memory.write([Self.breakpointInstruction], at: place)
    }

    // MARK: What the client sees

    /// Replaces patched bytes in `bytes`, which were read from `pieces`, by the original ones.
    func hide(in bytes: inout [UInt8], from pieces: @autoclosure () -> [MemoryPiece]) {
        guard !originals.isEmpty else { return }
        forEachPatch(in: pieces()) { index, place in
            // Another byte is what the guest has written there since.
            bytes[index] = original(of: bytes[index], at: place)
        }
    }

    /// What `byte`, which was read at `place`, is without our patches.
    func original(of byte: UInt8, at place: GuestPhysicalAddress) -> UInt8 {
        byte == Self.breakpointInstruction ? originals[place] ?? byte : byte
    }

    /// `bytes` with the breakpoint instruction wherever a patch lies, ready to be written to `pieces`.
    func patched(_ bytes: [UInt8], to pieces: [MemoryPiece]) -> [UInt8] {
        var bytes = bytes
        forEachPatch(in: pieces) { index, _ in bytes[index] = Self.breakpointInstruction }
        return bytes
    }

    /// Remembers that `bytes` were written to `pieces`: they are what lies under the patches now.
    mutating func noteWritten(_ bytes: [UInt8], to pieces: [MemoryPiece]) {
        var originals = originals
        forEachPatch(in: pieces) { index, place in originals[place] = bytes[index] }
        self.originals = originals
    }

    private func forEachPatch(
        in pieces: [MemoryPiece], _ body: (_ index: Int, _ place: GuestPhysicalAddress) -> Void
    ) {
        guard !originals.isEmpty else { return }
        for piece in pieces {
            for place in originals.keys {
                let distance = place.rawValue &- piece.place.rawValue
                guard distance < UInt64(piece.part.count) else { continue }
                body(piece.part.lowerBound + Int(distance), place)
            }
        }
    }

    private func breakpoints(
        of guest: Guest, except skipped: GuestVirtualAddress?
    ) -> Breakpoints {
        var breakpoints = Breakpoints(
            hardware: hardware.filter { $0 != skipped },
            software: software.keys.filter { $0 != skipped }, watchpoints: watchpoints,
            catchesBreakpointInstruction: hasClient)
        // A driver that patches nothing has room for any number; else a debug register is needed.
        if guest.vcpu.patchesSoftwareBreakpoints {
            // gdb puts the return address of a function that it calls onto the stack.
            let unpatched = software.filter { $0.value == nil && $0.key != skipped }
            breakpoints.hardware += unpatched.keys
        }
        guard let ownStop, ownStop != skipped, kind(at: ownStop, in: guest) == nil else {
            return breakpoints
        }
        if guest.vcpu.patchesSoftwareBreakpoints {
            breakpoints.hardware.append(ownStop)
        } else {
            breakpoints.software.append(ownStop)
        }
        return breakpoints
    }

    private func apply(to guest: Guest) throws(DebugRefusal) {
        do throws(HypervisorError) {
            try guest.vcpu.setBreakpoints(breakpoints(of: guest, except: nil))
        } catch .tooManyBreakpoints {
            throw .noFreeDebugRegister
        } catch {
            throw .notSupported
        }
    }
}

extension DebugRefusal: Error {}
