import GuestModel
import Hypervisor
import WireProtocol

/// The breakpoints of one debug session, and the bytes under those that are patched into memory.
///
/// Patching happens in guest memory only for drivers that need it; the client never sees it: reads
/// show the original byte, writes change the original byte.
struct BreakpointTable {
    /// Software breakpoints in one session; more is a mistake or an attack.
    static let softwareMax = 1024

    private struct Patch {
        let place: GuestPhysicalAddress
        var original: UInt8
    }

    private static let breakpointInstruction: UInt8 = 0xCC

    /// Whether a debugger is there to be told of the guest's own `int3`.
    private var hasClient = false
    private var hardware: [GuestVirtualAddress] = []
    private var software: [GuestVirtualAddress: Patch?] = [:]

    func contains(_ address: GuestVirtualAddress) -> Bool {
        software[address] != nil || hardware.contains(address)
    }

    func kind(at address: GuestVirtualAddress) -> BreakpointKind? {
        if software[address] != nil { return .software }
        return hardware.contains(address) ? .hardware : nil
    }

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
            guard let place = guest.physicalAddress(of: address),
                let original = guest.byte(at: place)
            else { throw .notMapped }
            guard guest.vcpu.patchesSoftwareBreakpoints else {
                software[address] = .some(nil)
                break
            }
            guard guest.memory.write([Self.breakpointInstruction], at: place) else {
                throw .notMapped
            }
            software[address] = Patch(place: place, original: original)
        }
        try apply(to: guest)
    }

    mutating func remove(
        _ kind: BreakpointKind, at address: GuestVirtualAddress, in guest: Guest
    ) throws(DebugRefusal) {
        switch kind {
        case .hardware:
            guard hardware.contains(address) else { return }
            hardware.removeAll { $0 == address }
        case .software:
            guard let patch = software.removeValue(forKey: address) else { return }
            if let patch { Self.restore(patch, at: address, in: guest) }
        }
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
        for (address, patch) in software {
            if let patch { Self.restore(patch, at: address, in: guest) }
        }
        software = [:]
        hardware = []
        try apply(to: guest)
    }

    /// Puts the original byte back where it was, and into a copy the guest has made since.
    private static func restore(_ patch: Patch, at address: GuestVirtualAddress, in guest: Guest) {
        var places = [patch.place]
        if let present = guest.physicalAddress(of: address), present != patch.place {
            places.append(present)
        }
        for place in places where guest.byte(at: place) == breakpointInstruction {
            // The byte was readable a moment ago, so it has memory and the write cannot fail.
            _ = guest.memory.write([patch.original], at: place)
        }
    }

    /// Takes the breakpoint at `address` out for one instruction while `body` runs.
    func withoutBreakpoint<Result>(
        at address: GuestVirtualAddress, in guest: Guest,
        _ body: () throws(HypervisorError) -> Result
    ) throws(HypervisorError) -> Result {
        if case .some(.some(let patch)) = software[address] {
            _ = guest.memory.write([patch.original], at: patch.place)
        }
        try guest.vcpu.setBreakpoints(breakpoints(except: address))
        let result = try body()
        if case .some(.some(let patch)) = software[address] {
            _ = guest.memory.write([Self.breakpointInstruction], at: patch.place)
        }
        try guest.vcpu.setBreakpoints(breakpoints(except: nil))
        return result
    }

    /// Replaces patched bytes in `bytes`, which were read at `start`, by the original ones.
    func hide(in bytes: inout [UInt8], from offset: Int, readAt start: GuestVirtualAddress) {
        guard !software.isEmpty else { return }
        for (distance, address) in patches(in: bytes.count - offset, at: start) {
            guard case .some(.some(let patch)) = software[address] else { continue }
            bytes[offset + distance] = patch.original
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
        for (offset, address) in patches(in: bytes.count, at: start) {
            guard case .some(.some(var patch)) = software[address] else { continue }
            patch.original = bytes[offset]
            software[address] = patch
        }
    }

    private func patches(
        in byteCount: Int, at start: GuestVirtualAddress
    ) -> [(offset: Int, address: GuestVirtualAddress)] {
        software.compactMap { address, patch in
            guard patch != nil, address >= start else { return nil }
            let distance = address.rawValue - start.rawValue
            return distance < UInt64(byteCount) ? (Int(distance), address) : nil
        }
    }

    private func breakpoints(except skipped: GuestVirtualAddress?) -> Breakpoints {
        Breakpoints(
            hardware: hardware.filter { $0 != skipped },
            software: software.keys.filter { $0 != skipped },
            catchesBreakpointInstruction: hasClient)
    }

    private func apply(to guest: Guest) throws(DebugRefusal) {
        do throws(HypervisorError) {
            try guest.vcpu.setBreakpoints(breakpoints(except: nil))
        } catch {
            throw .notSupported
        }
    }
}

extension DebugRefusal: Error {}
