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

extension [DebugRegister] {
    /// DR7 with these registers armed, DR0 for the first; bit 10 is always one.
    package var control: UInt64 {
        enumerated().reduce(1 << 10) { control, armed in
            let number = UInt64(armed.offset)
            return control | 1 << (2 * number) | armed.element.condition << (16 + 4 * number)
        }
    }
}

extension DebugExit {
    /// What a debug exception at `here` means when DR0 to DR3 hold `registers`.
    ///
    /// A watchpoint comes first: its trap belongs to the instruction before. Then it is decided by
    /// address: stepping onto an armed breakpoint is a step and no hit.
    ///
    /// - Source: Intel SDM volume 3, "Debug Status Register (DR6)".
    package init(
        dr6: UInt64, at here: GuestVirtualAddress, registers: [DebugRegister], isStepping: Bool
    ) {
        func isReported(_ index: Int) -> Bool { dr6 >> UInt64(index) & 1 != 0 }
        for (index, register) in registers.enumerated() where isReported(index) {
            guard case .data(let kind, let address, _) = register else { continue }
            self = .watchpoint(kind, address)
            return
        }
        let isHit = registers.enumerated().contains { index, register in
            register == .instruction(here) && (!isStepping || isReported(index))
        }
        let isSingleStep = isStepping && dr6 & 1 << 14 != 0
        self = isHit ? .hardwareBreakpoint(here) : isSingleStep ? .step : .guest
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

    /// The same, of a hypervisor called `name` that has `capabilities`.
    ///
    /// - Throws: `.missing` for what it lacks on this machine, `.tooManyBreakpoints` when four are not
    ///   enough.
    package func debugRegisters(
        of name: String, with capabilities: DriverCapabilities
    ) throws(HypervisorError) -> [DebugRegister] {
        guard hardware.isEmpty || capabilities.contains(.hardwareBreakpoints) else {
            throw .missing("hardware breakpoints of \(name) on this machine")
        }
        guard watchpoints.isEmpty || capabilities.contains(.watchpoints) else {
            throw .missing("data watchpoints of \(name) on this machine")
        }
        guard let registers = debugRegisters else {
            throw .tooManyBreakpoints(limit: hardwareBreakpointsMax)
        }
        return registers
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
