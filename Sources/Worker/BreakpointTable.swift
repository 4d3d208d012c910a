import GuestModel
import Hypervisor
import WireProtocol

/// The breakpoints and watchpoints of one debug session, and the bytes under those that are patched into memory.
///
/// Patching happens in guest memory only for drivers that need it; the client never sees it: reads
/// show the original byte, writes change the original byte.
struct BreakpointTable {
    /// Software breakpoints in one session; more is a mistake or an attack.
    static let softwareMax = 1024

    private static let breakpointInstruction: UInt8 = 0xCC

    /// Whether a debugger is there to be told of the guest's own `int3`.
    private var hasClient = false
    private var hardware: [GuestVirtualAddress] = []
    /// Where each is patched into memory; nil where the driver needs no patch.
    private var software: [GuestVirtualAddress: GuestPhysicalAddress?] = [:]
    /// In the order in which they came.
    private var watchpoints: [Watchpoint] = []
    /// The byte under each patch; two addresses that are mapped to one place share one.
    private var originals: [GuestPhysicalAddress: UInt8] = [:]

    func contains(_ address: GuestVirtualAddress) -> Bool {
        software[address] != nil || hardware.contains(address)
    }

    func kind(at address: GuestVirtualAddress) -> BreakpointKind? {
        if software[address] != nil { return .software }
        return hardware.contains(address) ? .hardware : nil
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

    /// Patches the byte at `address`; answers where it is, or nil when the driver needs no patch.
    private mutating func patch(
        at address: GuestVirtualAddress, in guest: Guest
    ) throws(DebugRefusal) -> GuestPhysicalAddress? {
        guard let place = guest.physicalAddress(of: address), let byte = guest.byte(at: place)
        else { throw .notMapped }
        guard guest.vcpu.patchesSoftwareBreakpoints else { return nil }
        guard originals[place] == nil else { return place }
        guard guest.memory.write([Self.breakpointInstruction], at: place) else { throw .notMapped }
        originals[place] = byte
        return place
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
            guard case .some(.some(let place)) = software.removeValue(forKey: address),
                !software.values.contains(place),
                let original = originals.removeValue(forKey: place)
            else { return }
            Self.restore(original, at: place, address, in: guest)
        }
    }

    /// Puts the original byte back where it was, and into a copy the guest has made since.
    private static func restore(
        _ original: UInt8, at place: GuestPhysicalAddress, _ address: GuestVirtualAddress,
        in guest: Guest
    ) {
        var places = [place]
        if let present = guest.physicalAddress(of: address), present != place {
            places.append(present)
        }
        for place in places where guest.byte(at: place) == breakpointInstruction {
            // The byte was readable a moment ago, so it has memory and the write cannot fail.
            _ = guest.memory.write([original], at: place)
        }
    }

    /// Takes the breakpoint at `address` out for one instruction while `body` runs.
    mutating func withoutBreakpoint<Result>(
        at address: GuestVirtualAddress, in guest: Guest,
        _ body: () throws(HypervisorError) -> Result
    ) throws(HypervisorError) -> Result {
        let place = software[address] ?? nil
        if let place, let original = originals[place] {
            _ = guest.memory.write([original], at: place)
        }
        // Whatever happens to the one instruction, the session's breakpoints are its own again.
        defer { putBack(at: place, in: guest) }
        try guest.vcpu.setBreakpoints(breakpoints(except: address))
        let result = try body()
        try guest.vcpu.setBreakpoints(breakpoints(except: nil))
        return result
    }

    /// Patches a byte again; what it holds now, which the instruction may have written, lies under it.
    private mutating func putBack(at place: GuestPhysicalAddress?, in guest: Guest) {
        guard let place, let byte = guest.byte(at: place) else { return }
        originals[place] = byte
        _ = guest.memory.write([Self.breakpointInstruction], at: place)
    }

    /// Replaces patched bytes in `bytes`, which were read at `start`, by the original ones.
    func hide(in bytes: inout [UInt8], readAt start: GuestVirtualAddress) {
        for (offset, place) in patches(in: bytes.count, at: start) {
            // Another byte is from another page that the guest has mapped there since.
            guard bytes[offset] == Self.breakpointInstruction, let original = originals[place]
            else { continue }
            bytes[offset] = original
        }
    }

    /// `bytes` with the breakpoint instruction wherever a patch lies, ready to be written at `start`.
    func patched(_ bytes: [UInt8], at start: GuestVirtualAddress) -> [UInt8] {
        var bytes = bytes
        for (offset, _) in patches(in: bytes.count, at: start) {
            bytes[offset] = Self.breakpointInstruction
        }
        return bytes
    }

    /// Remembers that `bytes` were written at `start`: they are what lies under the patches now.
    mutating func noteWritten(_ bytes: [UInt8], at start: GuestVirtualAddress) {
        for (offset, place) in patches(in: bytes.count, at: start) {
            originals[place] = bytes[offset]
        }
    }

    private func patches(
        in byteCount: Int, at start: GuestVirtualAddress
    ) -> [(offset: Int, place: GuestPhysicalAddress)] {
        software.compactMap { address, place in
            guard let place, address >= start else { return nil }
            let distance = address.rawValue - start.rawValue
            return distance < UInt64(byteCount) ? (Int(distance), place) : nil
        }
    }

    private func breakpoints(except skipped: GuestVirtualAddress?) -> Breakpoints {
        Breakpoints(
            hardware: hardware.filter { $0 != skipped },
            software: software.keys.filter { $0 != skipped }, watchpoints: watchpoints,
            catchesBreakpointInstruction: hasClient)
    }

    private func apply(to guest: Guest) throws(DebugRefusal) {
        do throws(HypervisorError) {
            try guest.vcpu.setBreakpoints(breakpoints(except: nil))
        } catch .tooManyBreakpoints {
            throw .noFreeDebugRegister
        } catch {
            throw .notSupported
        }
    }
}

extension DebugRefusal: Error {}
