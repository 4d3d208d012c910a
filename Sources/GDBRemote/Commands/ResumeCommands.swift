package import GuestModel

/// How the guest goes on.
package enum ResumeAction: Hashable, Sendable {
    case run
    case step
    /// Step while the instruction pointer lies in `start ..< end`.
    case stepRange(start: GuestVirtualAddress, end: GuestVirtualAddress)
}

/// One action of a resume packet and the threads it is meant for.
package struct ResumeRequest: Hashable, Sendable {
    package var action: ResumeAction
    /// The signal to deliver, in gdb's numbering; 0 is none.
    package var signal: UInt8
    /// Where to go on instead of the current instruction pointer.
    package var address: GuestVirtualAddress?
    /// Nil for all threads that no earlier action named.
    package var thread: ThreadID?

    package init(
        _ action: ResumeAction, signal: UInt8 = 0, address: GuestVirtualAddress? = nil,
        thread: ThreadID? = nil
    ) {
        self.action = action
        self.signal = signal
        self.address = address
        self.thread = thread
    }
}

extension Command {
    /// `c`, `cADDRESS`, `s`, `sADDRESS`.
    static func resume(_ reader: inout BodyReader, steps: Bool) throws(PacketError) -> Command {
        let address = reader.isAtEnd ? nil : try reader.address()
        try reader.expectEnd()
        return .resume([ResumeRequest(steps ? .step : .run, address: address)])
    }

    /// `CSIGNAL`, `CSIGNAL;ADDRESS`, and the same with `S`.
    static func resumeWithSignal(
        _ reader: inout BodyReader, steps: Bool
    ) throws(PacketError) -> Command {
        let signal = try reader.signal()
        let address = reader.take(";") ? try reader.address() : nil
        try reader.expectEnd()
        return .resume([ResumeRequest(steps ? .step : .run, signal: signal, address: address)])
    }

    /// `vCont;ACTION[:THREAD];...`, behind `vCont`.
    static func threadResume(_ reader: inout BodyReader) throws(PacketError) -> Command {
        var requests: [ResumeRequest] = []
        while !reader.isAtEnd {
            try reader.expect(";")
            guard requests.count < actionsMax else { throw .malformed }
            var request = try reader.resumeAction()
            if reader.take(":") { request.thread = try reader.threadID() }
            requests.append(request)
        }
        guard !requests.isEmpty else { throw .malformed }
        return .resume(requests)
    }

    /// Clients send at most one for each thread and one for the rest.
    private static var actionsMax: Int { 16 }
}

extension BodyReader {
    fileprivate mutating func signal() throws(PacketError) -> UInt8 {
        UInt8(try count(atMost: 0xFF))
    }

    fileprivate mutating func resumeAction() throws(PacketError) -> ResumeRequest {
        if take("c") { return ResumeRequest(.run) }
        if take("s") { return ResumeRequest(.step) }
        if take("C") { return ResumeRequest(.run, signal: try signal()) }
        if take("S") { return ResumeRequest(.step, signal: try signal()) }
        guard take("r") else { throw .malformed }
        let start = try address()
        try expect(",")
        return ResumeRequest(.stepRange(start: start, end: try address()))
    }
}
