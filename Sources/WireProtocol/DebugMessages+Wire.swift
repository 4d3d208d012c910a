import GuestModel

extension DebugRequest {
    package var wireType: UInt16 {
        switch self {
        case .attach: 1
        case .readMemory: 2
        case .writeMemory: 3
        case .writeRegisters: 4
        case .readExtendedState: 5
        case .insertBreakpoint: 6
        case .removeBreakpoint: 7
        case .resume: 8
        case .interrupt: 9
        case .detach: 10
        case .writeState: 11
        case .insertWatchpoint: 12
        case .removeWatchpoint: 13
        case .describeRegion: 14
        case .readPhysicalMemory: 15
        case .writePhysicalMemory: 16
        case .restartGuest: 17
        case .inspect: 18
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .attach, .readExtendedState, .interrupt, .restartGuest: break
        case .readMemory(let address, let byteCount):
            writer.append(address.rawValue)
            writer.append(byteCount)
        case .writeMemory(let address, let bytes):
            writer.append(address.rawValue)
            writer.appendCounted(bytes)
        case .writeRegisters(let registers): writer.append(registers)
        case .writeState(let write):
            writer.append(write.general)
            writer.append(write.fsBase)
            writer.append(write.gsBase)
            writer.append(write.cr2)
            writer.append(write.extended)
        case .insertBreakpoint(let kind, let address), .removeBreakpoint(let kind, let address):
            writer.append(kind.rawValue)
            writer.append(address.rawValue)
        case .insertWatchpoint(let watchpoint), .removeWatchpoint(let watchpoint):
            writer.append(watchpoint)
        case .describeRegion(let address): writer.append(address.rawValue)
        case .readPhysicalMemory(let address, let byteCount):
            writer.append(address.rawValue)
            writer.append(byteCount)
        case .writePhysicalMemory(let address, let bytes):
            writer.append(address.rawValue)
            writer.appendCounted(bytes)
        case .inspect(let inspection): writer.append(inspection)
        case .resume(let mode): writer.append(mode)
        case .detach(let mode): writer.append(mode.rawValue)
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 1: self = .attach
        case 2:
            let address = try reader.readVirtualAddress()
            self = .readMemory(address, byteCount: try reader.readMemoryLength())
        case 3:
            let address = try reader.readVirtualAddress()
            self = .writeMemory(
                address, try reader.readCounted(max: WireLimits.memoryBytesMax, "memory"))
        case 4: self = .writeRegisters(try reader.readRegisterFile())
        case 5: self = .readExtendedState
        case 6:
            let kind: BreakpointKind = try reader.readEnum("breakpoint kind")
            self = .insertBreakpoint(kind, try reader.readVirtualAddress())
        case 7:
            let kind: BreakpointKind = try reader.readEnum("breakpoint kind")
            self = .removeBreakpoint(kind, try reader.readVirtualAddress())
        case 8: self = .resume(try reader.readResumeMode())
        case 9: self = .interrupt
        case 10: self = .detach(try reader.readEnum("detach mode"))
        case 11:
            self = .writeState(
                StateWrite(
                    general: try reader.readRegisterFile(), fsBase: try reader.readUInt64(),
                    gsBase: try reader.readUInt64(), cr2: try reader.readUInt64(),
                    extended: try reader.readExtendedState()))
        case 12: self = .insertWatchpoint(try reader.readWatchpoint())
        case 13: self = .removeWatchpoint(try reader.readWatchpoint())
        case 14: self = .describeRegion(try reader.readVirtualAddress())
        case 15:
            let address = GuestPhysicalAddress(try reader.readUInt64())
            self = .readPhysicalMemory(address, byteCount: try reader.readMemoryLength())
        case 16:
            let address = GuestPhysicalAddress(try reader.readUInt64())
            self = .writePhysicalMemory(
                address, try reader.readCounted(max: WireLimits.memoryBytesMax, "memory"))
        case 17: self = .restartGuest
        case 18: self = .inspect(try reader.readInspection())
        default: throw .unknownType(wireType)
        }
    }
}

extension DebugReply {
    package var wireType: UInt16 {
        switch self {
        case .done: 101
        case .refused: 102
        case .attached: 103
        case .memory: 104
        case .extendedState: 105
        case .stopped: 106
        case .ended: 107
        case .region: 108
        case .report: 109
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .done: break
        case .refused(let refusal): writer.append(refusal.rawValue)
        case .attached(let facts):
            writer.append(facts.loadBias)
            writer.append(facts.firstSegmentAddress)
            writer.append(facts.capabilities.rawValue)
        case .memory(let bytes): writer.appendCounted(bytes)
        case .extendedState(let state): writer.append(state)
        case .stopped(let stop): writer.append(stop)
        case .ended(let end): writer.append(end)
        case .region(let region): writer.append(region)
        case .report(let text): writer.append(report: text)
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 101: self = .done
        case 102: self = .refused(try reader.readEnum("refusal"))
        case 103:
            self = .attached(
                GuestFacts(
                    loadBias: try reader.readUInt64(),
                    firstSegmentAddress: try reader.readUInt64(),
                    capabilities: DriverCapabilities(rawValue: try reader.readUInt32())))
        case 104:
            self = .memory(try reader.readCounted(max: WireLimits.memoryBytesMax, "memory"))
        case 105: self = .extendedState(try reader.readExtendedState())
        case 106: self = .stopped(try reader.readStopEvent())
        case 107: self = .ended(try reader.readGuestEnd())
        case 108: self = .region(try reader.readRegion())
        case 109: self = .report(try reader.readReport())
        default: throw .unknownType(wireType)
        }
    }
}

extension FrameReader {
    fileprivate mutating func readMemoryLength() throws(WireError) -> UInt32 {
        let byteCount = try readUInt32()
        guard byteCount <= WireLimits.memoryBytesMax else { throw .badValue("memory length") }
        return byteCount
    }
}
