import LinuxSystem

/// The clients that are being told why they must go.
///
/// Only some at a time: each has a descriptor, and the jail limits how many are waited for. A crowd
/// of them, silent or not, holds up nobody for long: while all places are taken, time is short.
struct TurnedAwayClients {
    static let countMax = 3
    /// Long enough for the first packet of a client far away.
    private static let patience: UInt64 = 1_000_000_000
    private static let crowdedPatience: UInt64 = 100_000_000

    private var places = [TurnedAwayClient?](repeating: nil, count: countMax)

    var isFull: Bool { places.allSatisfy { $0 != nil } }

    /// The descriptor of the client in `place`; -1 for none.
    func descriptor(at place: Int) -> Int32 { places[place]?.descriptor.rawValue ?? -1 }

    /// Gives `client` a place, if there is one.
    mutating func take(_ client: TurnedAwayClient) {
        guard let free = places.firstIndex(where: { $0 == nil }) else { return }
        places[free] = client
    }

    /// Takes what the client in `place` sent.
    mutating func serve(_ place: Int, buffer: inout [UInt8]) {
        guard let client = places[place] else { return }
        if !client.receive(buffer: &buffer) { places[place] = nil }
    }

    /// When the time of one of them is over; nil without any.
    var deadline: UInt64? {
        places.compactMap { $0?.start }.min().map { $0 + patience }
    }

    /// Closes those whose time is over, whatever they do.
    mutating func expire(now: UInt64) {
        let patience = patience
        for place in places.indices {
            if let client = places[place], now >= client.start + patience { places[place] = nil }
        }
    }

    private var patience: UInt64 { isFull ? Self.crowdedPatience : Self.patience }
}
