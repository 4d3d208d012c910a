import GuestModel

extension WorkerOrder {
    package var wireType: UInt16 {
        switch self {
        case .start: 201
        case .resume: 202
        case .stop: 203
        case .ping: 204
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .start(let settings): writer.append(settings)
        case .resume, .stop: break
        case .ping(let number): writer.append(number)
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 201: self = .start(try reader.readWorkerSettings())
        case 202: self = .resume
        case 203: self = .stop
        case 204: self = .ping(try reader.readUInt32())
        default: throw .unknownType(wireType)
        }
    }
}

extension WorkerNotice {
    package var wireType: UInt16 {
        switch self {
        case .hello: 301
        case .state: 302
        case .output: 303
        case .log: 304
        case .pong: 305
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .hello(let hello): writer.append(hello)
        case .state(let state, let text):
            writer.append(state.wireValue)
            writer.append(text)
        case .output(let text): writer.append(text)
        case .log(let level, let text):
            writer.append(level.rawValue)
            writer.append(text)
        case .pong(let number): writer.append(number)
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 301: self = .hello(try reader.readHello())
        case 302:
            let value = Int(try reader.readUInt8())
            guard SandboxState.allCases.indices.contains(value) else { throw .badValue("state") }
            self = .state(SandboxState.allCases[value], try reader.readText("state text"))
        case 303: self = .output(try reader.readText("output"))
        case 304:
            let level: LogLevel = try reader.readEnum("log level")
            self = .log(level, try reader.readText("log text"))
        case 305: self = .pong(try reader.readUInt32())
        default: throw .unknownType(wireType)
        }
    }
}

extension StubOrder {
    package var wireType: UInt16 {
        switch self {
        case .start: 401
        case .stop: 402
        case .ping: 403
        case .dropClient: 404
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .start(let settings):
            writer.append(settings.processID)
            writer.append(settings.symbolFileName)
        case .stop, .dropClient: break
        case .ping(let number): writer.append(number)
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 401:
            self = .start(
                StubSettings(
                    processID: try reader.readUInt32(),
                    symbolFileName: try reader.readText("symbol file")))
        case 402: self = .stop
        case 403: self = .ping(try reader.readUInt32())
        case 404: self = .dropClient
        default: throw .unknownType(wireType)
        }
    }
}

extension StubNotice {
    package var wireType: UInt16 {
        switch self {
        case .hello: 501
        case .clientAttached: 502
        case .clientDetached: 503
        case .log: 504
        case .pong: 506
        case .clientRejected: 505
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .hello(let hello): writer.append(hello)
        case .clientAttached(let text), .clientDetached(let text), .clientRejected(let text):
            writer.append(text)
        case .log(let level, let text):
            writer.append(level.rawValue)
            writer.append(text)
        case .pong(let number): writer.append(number)
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 501: self = .hello(try reader.readHello())
        case 502: self = .clientAttached(try reader.readText("client"))
        case 503: self = .clientDetached(try reader.readText("reason"))
        case 504:
            let level: LogLevel = try reader.readEnum("log level")
            self = .log(level, try reader.readText("log text"))
        case 506: self = .pong(try reader.readUInt32())
        case 505: self = .clientRejected(try reader.readText("rejection"))
        default: throw .unknownType(wireType)
        }
    }
}

extension SandboxState {
    fileprivate var wireValue: UInt8 {
        UInt8(Self.allCases.firstIndex(of: self) ?? 0)
    }
}

extension IsolationMeasure {
    fileprivate var wireValue: UInt8 {
        UInt8(Self.allCases.firstIndex(of: self) ?? 0)
    }
}

extension FrameWriter {
    fileprivate mutating func append(_ hello: Hello) {
        append(hello.protocolVersion)
        append(hello.buildID)
        append(hello.confinement.landlockABI)
        append(hello.confinement.namespaces.rawValue)
        append(UInt8(hello.confinement.missing.count))
        for missing in hello.confinement.missing {
            append(missing.measure.wireValue)
            append(missing.step)
            append(UInt32(bitPattern: missing.code))
        }
    }

    fileprivate mutating func append(_ settings: WorkerSettings) {
        append(UInt8(settings.abi == .hyperlight ? 0 : 1))
        append(settings.heap)
        append(settings.scratch)
        append(settings.input)
        append(settings.output)
        append(settings.acceptsUnversionedGuest)
        append(settings.holdsForClient)
        append(settings.waitTimeoutMilliseconds)
        append(settings.resumesOnDisconnect)
        append(settings.onCrash.rawValue)
        append(settings.isDebugReadOnly)
        append(settings.endsOnKill)
        append(settings.endsWhenReady)
        append(settings.seed)
    }
}

extension FrameReader {
    fileprivate mutating func readHello() throws(WireError) -> Hello {
        let version = try readUInt32()
        let buildID = try readText("build id")
        // Another version's greeting may go on in another way; it is refused by its version.
        guard version == WireLimits.protocolVersion else {
            skipRest()
            return Hello(
                protocolVersion: version, buildID: buildID, confinement: ConfinementReport())
        }
        return Hello(
            protocolVersion: version, buildID: buildID, confinement: try readConfinement())
    }

    private mutating func readConfinement() throws(WireError) -> ConfinementReport {
        var report = ConfinementReport()
        report.landlockABI = try readUInt8()
        report.namespaces = NamespaceSet(rawValue: try readUInt8())
        let count = try readUInt8()
        guard count <= IsolationMeasure.allCases.count else {
            throw .badValue("number of missing measures")
        }
        for _ in 0..<count {
            let value = Int(try readUInt8())
            guard IsolationMeasure.allCases.indices.contains(value) else {
                throw .badValue("measure")
            }
            report.missing.append(
                MissingMeasure(
                    IsolationMeasure.allCases[value], step: try readText("step"),
                    code: Int32(bitPattern: try readUInt32())))
        }
        return report
    }

    fileprivate mutating func readWorkerSettings() throws(WireError) -> WorkerSettings {
        WorkerSettings(
            abi: try readBool("abi") ? .bare : .hyperlight,
            heap: try readUInt64(),
            scratch: try readUInt64(),
            input: try readUInt64(),
            output: try readUInt64(),
            acceptsUnversionedGuest: try readBool("acceptsUnversionedGuest"),
            holdsForClient: try readBool("holdsForClient"),
            waitTimeoutMilliseconds: try readUInt64(),
            resumesOnDisconnect: try readBool("resumesOnDisconnect"),
            onCrash: try readEnum("onCrash"),
            isDebugReadOnly: try readBool("isDebugReadOnly"),
            endsOnKill: try readBool("endsOnKill"),
            endsWhenReady: try readBool("endsWhenReady"),
            seed: try readUInt64())
    }
}
