package import GuestModel

/// What one of the CPU's four debug registers watches.
///
/// - Source: Intel SDM volume 3, "Debug Registers" and "Breakpoint Field Recognition".
package enum DebugRegister: Hashable, Sendable {
    case instruction(GuestVirtualAddress)
    /// 1, 2, 4 or 8 bytes at a multiple of their number.
    case data(WatchKind, GuestVirtualAddress, byteCount: UInt64)

    package var address: GuestVirtualAddress {
        switch self {
        case .instruction(let address), .data(_, let address, _): address
        }
    }

    /// As DR7 has it for one register: R/W in bits 0-1, LEN in bits 2-3.
    package var condition: UInt64 {
        switch self {
        case .instruction: 0
        // There is no condition for reads alone.
        case .data(let kind, _, let byteCount):
            (kind == .write ? 0b01 : 0b11) | Self.length(byteCount) << 2
        }
    }

    private static func length(_ byteCount: UInt64) -> UInt64 {
        switch byteCount {
        case 8: 0b10
        case 4: 0b11
        case 2: 0b01
        default: 0b00
        }
    }
}

extension Breakpoints {
    /// DR0 to DR3 as these breakpoints need them, or nil when four are not enough.
    package var debugRegisters: [DebugRegister]? {
        var registers = hardware.map(DebugRegister.instruction)
        for watchpoint in watchpoints {
            guard let pieces = watchpoint.pieces(atMost: hardwareBreakpointsMax) else { return nil }
            // Ranges that overlap share the pieces that are alike.
            registers += pieces.filter { !registers.contains($0) }
        }
        return registers.count <= hardwareBreakpointsMax ? registers : nil
    }
}

extension Watchpoint {
    /// The range cut into as few pieces as a debug register can watch, or nil when that is more than
    /// `limit`.
    package func pieces(atMost limit: Int) -> [DebugRegister]? {
        var pieces: [DebugRegister] = []
        var address = range.start.rawValue
        var left = UInt64(range.byteCount)
        while left > 0 {
            guard pieces.count < limit else { return nil }
            var byteCount: UInt64 = 8
            while byteCount > left || !address.isMultiple(of: byteCount) { byteCount /= 2 }
            pieces.append(.data(kind, GuestVirtualAddress(address), byteCount: byteCount))
            // Zero behind the last byte there is, where nothing is left.
            address &+= byteCount
            left -= byteCount
        }
        return pieces
    }
}
