import GuestModel

extension WorkerOrder {
    package var wireType: UInt16 {
        switch self {
        case .start: 201
        case .resume: 202
        case .stop: 203
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .start(let settings): writer.append(settings)
        case .resume, .stop: break
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 201: self = .start(try reader.readWorkerSettings())
        case 202: self = .resume
        case 203: self = .stop
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
        default: throw .unknownType(wireType)
        }
    }
}

extension StubOrder {
    package var wireType: UInt16 {
        switch self {
        case .start: 401
        case .stop: 402
        }
    }

    package func encodePayload(into writer: inout FrameWriter) {
        switch self {
        case .start(let settings): writer.append(settings.processID)
        case .stop: break
        }
    }

    package init(wireType: UInt16, from reader: inout FrameReader) throws(WireError) {
        switch wireType {
        case 401: self = .start(StubSettings(processID: try reader.readUInt32()))
        case 402: self = .stop
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

extension FrameWriter {
    fileprivate mutating func append(_ hello: Hello) {
        append(hello.protocolVersion)
        append(hello.buildID)
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
        append(settings.endsOnKill)
        append(settings.endsWhenReady)
        append(settings.seed)
    }
}

extension FrameReader {
    fileprivate mutating func readHello() throws(WireError) -> Hello {
        Hello(protocolVersion: try readUInt32(), buildID: try readText("build id"))
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
            endsOnKill: try readBool("endsOnKill"),
            endsWhenReady: try readBool("endsWhenReady"),
            seed: try readUInt64())
    }
}
