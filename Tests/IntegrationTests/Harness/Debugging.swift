import ControlAPI
import Foundation
import GuestModel
import Testing

extension RunningSupervisor {
    /// Waits until a guest is held at its entry point.
    func waitForHeldGuest(_ sandbox: String) throws {
        try waitForEvent(sandbox, "sandbox.state", containing: "-> waiting")
    }

    /// The process id of a sandbox's worker.
    func worker(_ sandbox: String) throws -> Int32 {
        guard let worker = try status(sandbox).workerPID else {
            throw HarnessError("\(sandbox) has no worker")
        }
        return worker
    }

    /// Does `body` and waits until the guest has worked for 20 ms since.
    func waitForWork(_ sandbox: String, _ body: () throws -> Void) throws {
        guard let worker = try status(sandbox).workerPID else { throw HarnessError("no worker") }
        let start = processorSeconds(worker)
        try body()
        try Deadline.wait(.seconds(5), for: "work of \(sandbox)") {
            processorSeconds(worker) - start > 0.02
        }
    }

    /// Where the debug door of a sandbox is when it has no port.
    func debugSocket(_ sandbox: String) -> RSPClient.Address {
        .path("\(folder)/sandboxes/\(sandbox)/gdb.sock")
    }

    /// Runs `body` with the guest stopped by a client that detaches afterwards.
    func stopping<Value>(_ sandbox: String, _ body: (RSPClient) throws -> Value) throws -> Value {
        let client = try RSPClient(debugSocket(sandbox))
        try client.attach()
        let value = try body(client)
        try client.detach()
        return value
    }

    /// The guest's counter; the guest runs afterwards.
    func ticks(_ sandbox: String, _ image: GuestImage) throws -> UInt64 {
        let address = try image.address(of: "ticks")
        return try stopping(sandbox) { try $0.readWord(at: address) }
    }

    /// Fails unless the guest's counter moves while nobody debugs it.
    func expectTicking(_ sandbox: String, _ image: GuestImage) throws {
        let before = try ticks(sandbox, image)
        try Deadline.wait(.seconds(1), for: "ticks of \(sandbox) to move from \(before)") {
            try ticks(sandbox, image) > before
        }
    }

    /// Fails unless the functions named have the bytes of the file.
    func expectOriginalCode(_ sandbox: String, _ image: GuestImage, _ functions: [String]) throws {
        for function in functions {
            let address = try image.address(of: function)
            let original = try image.bytes(at: address, count: 24)
            let present = try stopping(sandbox) { try $0.readMemory(at: address, count: 24) }
            #expect(present == original, "code of \(function)")
        }
    }

    /// The times at which a guest printed since `start`, in seconds since 1970.
    func printTimes(_ sandbox: String, since start: Double) -> [Double] {
        records(since: start).filter { $0.isAbout(sandbox, "guest.output", containing: "") }
            .map(\.time)
    }

    /// Waits until the guest prints after `start`; seconds from then.
    @discardableResult
    func secondsToPrint(_ sandbox: String, since start: Double, _ duration: Duration) throws
        -> Double
    {
        let first = records(since: start).startIndex
        let record = try waitForRecord("output of \(sandbox)", from: first, duration) {
            $0.time >= start && $0.isAbout(sandbox, "guest.output", containing: "")
        }
        return record.time - start
    }
}

/// The guest that prints a line every so many ticks, set to about one line in a millisecond.
enum Ticker {
    static let guest = "tests/ticker"
    private static let secondsPerLine = 0.001

    /// Lets a ticker that is held at its entry point run, and tells it how often to print.
    ///
    /// How fast a guest is depends on driver and machine, so that is measured first.
    static func start(
        _ supervisor: RunningSupervisor, _ sandbox: String, _ image: GuestImage
    ) throws {
        try supervisor.waitForHeldGuest(sandbox)
        try supervisor.stopping(sandbox) { _ in }
        let start = wallClockSeconds()
        try supervisor.waitForEvent(sandbox, "sandbox.state", containing: "-> running")
        let perLine = try image.address(of: "ticks_per_line")
        let ticks = try image.address(of: "ticks")
        try supervisor.stopping(sandbox) { client in
            let rate = Double(try client.readWord(at: ticks)) / (wallClockSeconds() - start)
            try client.writeWord(UInt64(max(1, rate * secondsPerLine)), at: perLine)
        }
        try supervisor.waitForEvent(sandbox, "guest.output")
    }
}

extension Ticker {
    /// Its first value of `ticks_per_line`: never.
    private static let never: UInt64 = 1 << 62

    /// Makes a line the next thing that a guest which stands in `tick` does.
    ///
    /// When the line comes, the guest runs. Only for a ticker that was not started by `start`: it
    /// prints nothing else.
    static func printsNext(_ client: RSPClient, _ image: GuestImage) throws {
        let ticks = try image.address(of: "ticks")
        try client.writeWord(client.readWord(at: ticks) &+ never, at: ticks)
    }
}
