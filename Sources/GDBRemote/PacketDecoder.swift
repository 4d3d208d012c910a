/// Turns the client's byte stream into packets, wherever the transport cuts it.
///
/// The body of a packet stays readable in `body` until the next byte is pushed. Memory is bounded
/// by `PacketLimits.bodyBytesMax`, whatever the client sends.
///
/// - Source: gdb manual, nodes "Overview" and "Packet Acknowledgment" of the remote protocol.
package struct PacketDecoder: Sendable {
    /// What a run of bytes amounted to.
    package enum Event: Equatable, Sendable {
        /// A whole packet with a right checksum; its unescaped body is in `body`.
        case packet
        /// 0x03 between packets.
        case interrupt
        /// `+`.
        case acknowledged
        /// `-`: the client wants the last reply again.
        case resendRequested
        case badChecksum
        /// A body over the limit, skipped up to its end.
        case oversized
        /// The connection's first byte is none that a debugger sends (a browser, a scanner).
        case notADebugger
        /// More than `PacketLimits.garbageBytesMax` bytes since the last good packet mean nothing.
        case garbage
    }

    private enum State: Sendable {
        case firstByte
        case betweenPackets
        case body
        case escaped
        case checksumHigh
        case checksumLow(UInt8?)
        case skippedBody
        case skippedChecksumHigh
        case skippedChecksumLow
    }

    /// The last packet's body, unescaped.
    package private(set) var body: [UInt8] = []

    private var state = State.firstByte
    private var sum: UInt8 = 0
    /// Bytes of the body as sent; the escapes count.
    private var sentCount = 0
    /// Bytes outside of packets since the last good one.
    private var garbageCount = 0

    package init() {
        body.reserveCapacity(1024)
    }

    /// Whether a packet has begun and not come to its end.
    package var isInsidePacket: Bool {
        switch state {
        case .firstByte, .betweenPackets: false
        case .body, .escaped, .checksumHigh, .checksumLow, .skippedBody, .skippedChecksumHigh,
            .skippedChecksumLow:
            true
        }
    }

    /// Takes bytes of `bytes` from `index` on until something is complete.
    ///
    /// `index` is moved behind what was taken; nil means that all bytes are used up.
    package mutating func receive(_ bytes: Span<UInt8>, from index: inout Int) -> Event? {
        while index < bytes.count {
            if case .body = state { takePlainBytes(bytes, from: &index) }
            guard index < bytes.count else { return nil }
            let byte = bytes[index]
            index &+= 1
            if let event = receive(byte) { return event }
        }
        return nil
    }

    /// Takes bytes of a body that mean themselves, up to the next mark or the limit.
    ///
    /// A write of memory is 64 KiB of them; one at a time they would take longer than their way here.
    private mutating func takePlainBytes(_ bytes: Span<UInt8>, from index: inout Int) {
        let start = index
        let limit = min(bytes.count, start &+ PacketLimits.bodyBytesMax &- sentCount)
        var sum = sum
        while index < limit {
            let byte = bytes[index]
            if byte == UInt8(ascii: "#") || byte == UInt8(ascii: "}") { break }
            sum &+= byte
            index &+= 1
        }
        self.sum = sum
        sentCount &+= index &- start
        let position = body.count
        body.append(contentsOf: repeatElement(0, count: index &- start))
        var target = body.mutableSpan
        for offset in 0..<index &- start { target[position &+ offset] = bytes[start &+ offset] }
    }

    /// Takes one byte.
    package mutating func receive(_ byte: UInt8) -> Event? {
        switch state {
        case .body: return receiveBody(byte)
        case .escaped:
            body.append(byte ^ 0x20)
            state = .body
            return count(byte)
        case .firstByte:
            guard [0x2B, 0x2D, 0x24, 0x03].contains(byte) else { return .notADebugger }
            return receiveBetweenPackets(byte)
        case .betweenPackets: return receiveBetweenPackets(byte)
        case .checksumHigh: state = .checksumLow(Hex.value(byte))
        case .checksumLow(let high):
            state = .betweenPackets
            guard let high, let low = Hex.value(byte), high << 4 | low == sum else {
                return .badChecksum
            }
            garbageCount = 0
            return .packet
        case .skippedBody: if byte == UInt8(ascii: "#") { state = .skippedChecksumHigh }
        case .skippedChecksumHigh: state = .skippedChecksumLow
        case .skippedChecksumLow:
            state = .betweenPackets
            return .oversized
        }
        return nil
    }

    private mutating func receiveBetweenPackets(_ byte: UInt8) -> Event? {
        state = .betweenPackets
        switch byte {
        case UInt8(ascii: "$"):
            state = .body
            body.removeAll(keepingCapacity: true)
            sum = 0
            sentCount = 0
            return nil
        case UInt8(ascii: "+"): return .acknowledged
        case UInt8(ascii: "-"): return .resendRequested
        case 0x03: return .interrupt
        default:
            garbageCount &+= 1
            guard garbageCount > PacketLimits.garbageBytesMax else { return nil }
            garbageCount = 0
            return .garbage
        }
    }

    private mutating func receiveBody(_ byte: UInt8) -> Event? {
        switch byte {
        case UInt8(ascii: "#"):
            state = .checksumHigh
            return nil
        case UInt8(ascii: "}"): state = .escaped
        default: body.append(byte)
        }
        return count(byte)
    }

    private mutating func count(_ byte: UInt8) -> Event? {
        sum &+= byte
        sentCount &+= 1
        if sentCount > PacketLimits.bodyBytesMax {
            state = .skippedBody
            body.removeAll(keepingCapacity: false)
        }
        return nil
    }
}
