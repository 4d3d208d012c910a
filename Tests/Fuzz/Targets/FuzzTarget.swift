// FuzzTargets: for each border that hostile bytes cross, a function that takes any bytes and says
// what does not hold.
//
// libFuzzer calls them through `tools/fuzz/Program.swift`; `FuzzTests` calls them with the kept
// corpora in every run of the suite. A crash, a leak and a slow input are libFuzzer's to find; what
// stands here is the rest: a message decodes to what it was encoded from, a stream means the same
// wherever it is cut, output is bounded, a refused write wrote nothing.

/// One border of the project.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// Bytes of a client: packets and commands.
    case packets
    /// Bytes of a client, replies of a worker and time, in any order.
    case session
    /// Frames between our processes, of all six kinds.
    case frames
    /// `sandboxes.json`.
    case config
    /// A guest image and its loading.
    case images
    /// What a running guest writes for its host.
    case messages
    /// Page tables of a guest.
    case walk

    /// What does not hold for `input`; empty for a sound program.
    public func mistakes(with input: [UInt8]) -> [String] {
        switch self {
        case .packets: packetMistakes(input)
        case .session: sessionMistakes(input)
        case .frames: frameMistakes(input)
        case .config: configMistakes(input)
        case .images: imageMistakes(input)
        case .messages: messageMistakes(input)
        case .walk: walkMistakes(input)
        }
    }
}

/// Takes numbers off the front of an input; behind its end there are zeros.
struct InputReader {
    private let bytes: [UInt8]
    private var index = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { index >= bytes.count }

    mutating func byte() -> UInt8 {
        guard index < bytes.count else { return 0 }
        defer { index += 1 }
        return bytes[index]
    }

    mutating func number() -> UInt64 {
        (0..<8).reduce(0) { value, _ in value << 8 | UInt64(byte()) }
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        let end = min(index + count, bytes.count)
        defer { index = end }
        return Array(bytes[index..<end])
    }

    mutating func rest() -> [UInt8] { bytes(bytes.count) }
}
