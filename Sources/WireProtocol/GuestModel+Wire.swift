import GuestModel

extension FrameWriter {
    mutating func append(_ registers: RegisterFile) {
        let words = registers.words
        for index in words.indices { append(words[index]) }
    }

    mutating func append(_ system: SystemRegisters) {
        append(system.cs)
        append(system.ds)
        append(system.es)
        append(system.fs)
        append(system.gs)
        append(system.ss)
        append(system.tr)
        append(system.ldt)
        append(system.gdt)
        append(system.idt)
        append(system.cr0)
        append(system.cr2)
        append(system.cr3)
        append(system.cr4)
        append(system.cr8)
        append(system.efer)
        append(system.apicBase)
    }

    private mutating func append(_ segment: Segment) {
        append(segment.base)
        append(segment.limit)
        append(segment.selector)
        append(segment.attributes)
    }

    private mutating func append(_ table: DescriptorTable) {
        append(table.base)
        append(table.limit)
    }

    mutating func append(_ extended: ExtendedState?) {
        appendCounted(extended?.bytes ?? [])
        guard let extended else { return }
        appendCounted(extended.upperYMM ?? [])
        append(extended.kernelGSBase != nil)
        append(extended.kernelGSBase ?? 0)
    }

    mutating func append(_ mode: ResumeMode) {
        switch mode {
        case .continue: append(UInt8(0))
        case .step: append(UInt8(1))
        case .stepRange(let start, let end):
            append(UInt8(2))
            append(start.rawValue)
            append(end.rawValue)
        }
    }

    mutating func append(_ stop: StopEvent) {
        append(stop.reason)
        append(stop.state.general)
        append(stop.state.system)
        append(UInt8(stop.windows.count))
        for window in stop.windows {
            append(window.start.rawValue)
            appendCounted(window.bytes)
        }
    }

    mutating func append(_ reason: StopReason) {
        switch reason {
        case .entryPoint: append(UInt8(0))
        case .attached: append(UInt8(1))
        case .interrupted: append(UInt8(2))
        case .stepped: append(UInt8(3))
        case .softwareBreakpoint(let address):
            append(UInt8(4))
            append(address.rawValue)
        case .hardwareBreakpoint(let address):
            append(UInt8(5))
            append(address.rawValue)
        case .guestTrap: append(UInt8(6))
        case .crashed(let crash):
            append(UInt8(7))
            append(crash)
        case .watchpoint(let kind, let address):
            append(UInt8(8))
            append(kind.rawValue)
            append(address.rawValue)
        }
    }

    mutating func append(_ watchpoint: Watchpoint) {
        append(watchpoint.kind.rawValue)
        append(watchpoint.range.start.rawValue)
        append(UInt64(watchpoint.range.byteCount))
    }

    mutating func append(_ region: MappedRegion) {
        append(region.start.rawValue)
        append(region.last.rawValue)
        append(region.permissions != nil)
        append(region.permissions?.rawValue ?? 0)
        append(region.name)
    }

    mutating func append(_ inspection: Inspection) {
        switch inspection {
        case .status: append(UInt8(0))
        case .exits: append(UInt8(1))
        case .registers: append(UInt8(2))
        case .translate(let address):
            append(UInt8(3))
            append(address.rawValue)
        case .regions: append(UInt8(4))
        case .hostCalls: append(UInt8(5))
        case .dump: append(UInt8(6))
        }
    }

    mutating func append(_ end: GuestEnd) {
        switch end {
        case .finished: append(UInt8(0))
        case .crashed(let crash):
            append(UInt8(1))
            append(crash)
        case .killed: append(UInt8(2))
        }
    }

    mutating func append(_ crash: GuestCrash) {
        switch crash {
        case .tripleFault: append(UInt8(0))
        case .unmappedAccess(let address, let access):
            append(UInt8(1))
            append(address.rawValue)
            append(access.rawValue)
        case .unmappedFetch(let address):
            append(UInt8(2))
            append(address.rawValue)
        case .unsupportedInstruction(let bytes):
            append(UInt8(3))
            appendCounted(Array(bytes.prefix(instructionBytesMax)))
        case .unexpectedPort(let port):
            append(UInt8(4))
            append(port)
        case .aborted(let code, let text):
            append(UInt8(5))
            append(code)
            append(text)
        case .protocolViolation(let text):
            append(UInt8(6))
            append(text)
        case .driverFailure(let text):
            append(UInt8(7))
            append(text)
        case .exception(let exception):
            append(UInt8(8))
            append(exception.vector)
            append(exception.errorCode)
            append(exception.faultAddress != nil)
            append(exception.faultAddress?.rawValue ?? 0)
        }
    }
}

extension FrameReader {
    mutating func readVirtualAddress() throws(WireError) -> GuestVirtualAddress {
        GuestVirtualAddress(try readUInt64())
    }

    mutating func readRegisterFile() throws(WireError) -> RegisterFile {
        var words = RegisterFile.Words(repeating: 0)
        for index in words.indices { words[index] = try readUInt64() }
        return RegisterFile(words: words)
    }

    mutating func readSystemRegisters() throws(WireError) -> SystemRegisters {
        var system = SystemRegisters()
        system.cs = try readSegment()
        system.ds = try readSegment()
        system.es = try readSegment()
        system.fs = try readSegment()
        system.gs = try readSegment()
        system.ss = try readSegment()
        system.tr = try readSegment()
        system.ldt = try readSegment()
        system.gdt = try readTable()
        system.idt = try readTable()
        system.cr0 = try readUInt64()
        system.cr2 = try readUInt64()
        system.cr3 = try readUInt64()
        system.cr4 = try readUInt64()
        system.cr8 = try readUInt64()
        system.efer = try readUInt64()
        system.apicBase = try readUInt64()
        return system
    }

    private mutating func readSegment() throws(WireError) -> Segment {
        Segment(
            base: try readUInt64(), limit: try readUInt32(), selector: try readUInt16(),
            attributes: try readUInt16())
    }

    private mutating func readTable() throws(WireError) -> DescriptorTable {
        DescriptorTable(base: try readUInt64(), limit: try readUInt16())
    }

    /// Nil when no bytes come first.
    mutating func readExtendedState() throws(WireError) -> ExtendedState? {
        let bytes = try readCounted(max: ExtendedState.byteCount, "extended state")
        guard !bytes.isEmpty else { return nil }
        guard bytes.count == ExtendedState.byteCount else {
            throw .badValue("length of extended state")
        }
        let upper = try readCounted(max: ExtendedState.upperYMMByteCount, "upper halves")
        let hasKernelGSBase = try readBool("kernel GS base")
        let kernelGSBase = try readUInt64()
        guard
            let state = ExtendedState(
                fxsave: bytes, upperYMM: upper.isEmpty ? nil : upper,
                kernelGSBase: hasKernelGSBase ? kernelGSBase : nil)
        else { throw .badValue("length of upper halves") }
        return state
    }

    mutating func readResumeMode() throws(WireError) -> ResumeMode {
        switch try readUInt8() {
        case 0: return .continue
        case 1: return .step
        case 2: return .stepRange(start: try readVirtualAddress(), end: try readVirtualAddress())
        default: throw .badValue("resume mode")
        }
    }

    mutating func readStopEvent() throws(WireError) -> StopEvent {
        let reason = try readStopReason()
        let general = try readRegisterFile()
        let system = try readSystemRegisters()
        let count = Int(try readUInt8())
        guard count <= WireLimits.windowsMax else { throw .badValue("number of windows") }
        var windows: [MemoryWindow] = []
        for _ in 0..<count {
            let start = try readVirtualAddress()
            let bytes = try readCounted(max: WireLimits.windowBytesMax, "window")
            guard GuestVirtualRange(start: start, byteCount: bytes.count) != nil else {
                throw .badValue("window")
            }
            windows.append(MemoryWindow(start: start, bytes: bytes))
        }
        return StopEvent(
            reason: reason, state: VCPUState(general: general, system: system), windows: windows)
    }

    mutating func readStopReason() throws(WireError) -> StopReason {
        switch try readUInt8() {
        case 0: return .entryPoint
        case 1: return .attached
        case 2: return .interrupted
        case 3: return .stepped
        case 4: return .softwareBreakpoint(try readVirtualAddress())
        case 5: return .hardwareBreakpoint(try readVirtualAddress())
        case 6: return .guestTrap
        case 7: return .crashed(try readGuestCrash())
        case 8:
            let kind: WatchKind = try readEnum("watch kind")
            return .watchpoint(kind, try readVirtualAddress())
        default: throw .badValue("stop reason")
        }
    }

    mutating func readWatchpoint() throws(WireError) -> Watchpoint {
        let kind: WatchKind = try readEnum("watch kind")
        let start = try readVirtualAddress()
        guard let byteCount = Int(exactly: try readUInt64()),
            let range = GuestVirtualRange(start: start, byteCount: byteCount),
            let watchpoint = Watchpoint(kind, range)
        else { throw .badValue("watched range") }
        return watchpoint
    }

    mutating func readRegion() throws(WireError) -> MappedRegion {
        let start = try readVirtualAddress()
        let last = try readVirtualAddress()
        let isMapped = try readBool("permissions")
        let permissions = MemoryPermissions(rawValue: try readUInt8())
        guard permissions.isSubset(of: .all),
            let region = MappedRegion(
                start: start, last: last, permissions: isMapped ? permissions : nil,
                name: try readText("region name"))
        else { throw .badValue("region") }
        return region
    }

    mutating func readInspection() throws(WireError) -> Inspection {
        switch try readUInt8() {
        case 0: return .status
        case 1: return .exits
        case 2: return .registers
        case 3: return .translate(try readVirtualAddress())
        case 4: return .regions
        case 5: return .hostCalls
        case 6: return .dump
        default: throw .badValue("inspection")
        }
    }

    mutating func readGuestEnd() throws(WireError) -> GuestEnd {
        switch try readUInt8() {
        case 0: return .finished
        case 1: return .crashed(try readGuestCrash())
        case 2: return .killed
        default: throw .badValue("guest end")
        }
    }

    private mutating func readException() throws(WireError) -> CPUException {
        let vector = try readUInt8()
        let errorCode = try readUInt64()
        let hasAddress = try readBool("fault address")
        let address = try readVirtualAddress()
        return CPUException(
            vector: vector, errorCode: errorCode, faultAddress: hasAddress ? address : nil)
    }

    mutating func readGuestCrash() throws(WireError) -> GuestCrash {
        switch try readUInt8() {
        case 0: return .tripleFault
        case 1:
            let address = GuestPhysicalAddress(try readUInt64())
            return .unmappedAccess(address, try readEnum("memory access"))
        case 2: return .unmappedFetch(try readVirtualAddress())
        case 3:
            return .unsupportedInstruction(
                bytes: try readCounted(max: instructionBytesMax, "instruction"))
        case 4: return .unexpectedPort(try readUInt16())
        case 5:
            let code = try readUInt8()
            return .aborted(code: code, text: try readText("abort text"))
        case 6: return .protocolViolation(try readText("violation"))
        case 7: return .driverFailure(try readText("driver failure"))
        case 8: return .exception(try readException())
        default: throw .badValue("crash")
        }
    }
}

/// Longest x86 instruction.
private let instructionBytesMax = 15
