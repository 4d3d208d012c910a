// WireProtocol: what supervisor, worker and stub say to each other.
//
// Every connection is a SOCK_SEQPACKET Unix socket, so one message is one frame. A frame is a header
// of eight bytes (type, zero, payload length) and a payload of at most 128 KiB; all numbers are
// little-endian. Decoding is strict: an unknown type, a short frame or trailing bytes end the
// connection. `docs/wire-protocol.md` describes every message.
//
// Start with `DebugMessages.swift` (stub and worker) and `ControlMessages.swift` (supervisor and its
// children).

/// Numbers that all programs must agree on.
package enum WireLimits {
    /// Changes with every incompatible change of a message.
    package static let protocolVersion: UInt32 = 4
    package static let headerBytes = 8
    package static let payloadBytesMax = 128 * 1024
    package static let frameBytesMax = headerBytes + payloadBytesMax
    /// The largest frame between the supervisor and a child, which carries no guest memory.
    package static let controlFrameBytesMax = 16 * 1024
    /// Guest memory in one frame, in bytes.
    package static let memoryBytesMax = payloadBytesMax - 16
    /// Text in one frame, in bytes of UTF-8.
    package static let textBytesMax = 8 * 1024
    /// Text of one inspection, in bytes of UTF-8.
    package static let reportBytesMax = 64 * 1024
    /// Bytes of one memory window in a stop event.
    package static let windowBytesMax = 1024
    package static let windowsMax = 4
}

/// Why a frame was refused.
package enum WireError: Error, Hashable, CustomStringConvertible {
    case truncated(needed: Int, available: Int)
    case trailingBytes(Int)
    case tooLong(Int)
    case lengthMismatch(announced: Int, actual: Int)
    case unknownType(UInt16)
    case badValue(String)

    package var description: String {
        switch self {
        case .truncated(let needed, let available):
            "frame too short: \(needed) bytes needed, \(available) there"
        case .trailingBytes(let count): "\(count) bytes too many at the end of a frame"
        case .tooLong(let count): "frame of \(count) bytes (at most \(WireLimits.frameBytesMax))"
        case .lengthMismatch(let announced, let actual):
            "frame announces \(announced) bytes and has \(actual)"
        case .unknownType(let type): "unknown frame type \(type)"
        case .badValue(let field): "value of \(field) out of range"
        }
    }
}

/// A message that travels as one frame.
package protocol WireMessage: Sendable {
    /// The number of this case; unique within its enum.
    var wireType: UInt16 { get }
    func encodePayload(into writer: inout FrameWriter)
    init(wireType: UInt16, from reader: inout FrameReader) throws(WireError)
}

extension WireMessage {
    /// Replaces the content of `frame` by this message.
    package func encode(into frame: inout [UInt8]) {
        var writer = FrameWriter(reusing: frame)
        writer.beginFrame(type: wireType)
        encodePayload(into: &writer)
        frame = writer.finishFrame()
    }

    /// This message as a frame of its own.
    package func encoded() -> [UInt8] {
        var frame: [UInt8] = []
        encode(into: &frame)
        return frame
    }

    /// Reads the message out of the first `count` bytes of `buffer`.
    package init(frame buffer: [UInt8], count: Int) throws(WireError) {
        guard count <= WireLimits.frameBytesMax else { throw .tooLong(count) }
        var reader = FrameReader(buffer, count: count)
        let type = try reader.readUInt16()
        guard try reader.readUInt16() == 0 else { throw .badValue("header") }
        let announced = Int(try reader.readUInt32())
        guard announced == count - WireLimits.headerBytes else {
            throw .lengthMismatch(announced: announced, actual: count - WireLimits.headerBytes)
        }
        self = try Self(wireType: type, from: &reader)
        try reader.finish()
    }

    /// Reads the message out of all of `frame`.
    package init(frame: [UInt8]) throws(WireError) {
        self = try Self(frame: frame, count: frame.count)
    }
}
