import Foundation
import Glibc
import GuestModel
import Hypervisor
import HypervisorEmulator
import HypervisorKVM
import LinuxSystem
import WireProtocol

@testable import Worker

/// The drivers that guests of these tests run on.
enum RealDriver: String, CaseIterable, Sendable {
    case kvm
    case emulator

    /// Those this machine has; the emulator is always there.
    static let present = allCases.filter(\.isPresent)

    /// Those that a signal stops whichever thread gets it; a test has many, a worker has one.
    static let kickedFromAnyThread: [RealDriver] = [.emulator]

    var isPresent: Bool {
        switch self {
        case .kvm: unsafe access("/dev/kvm", R_OK | W_OK) == 0
        case .emulator: true
        }
    }

    var name: DriverName {
        switch self {
        case .kvm: .kvm
        case .emulator: .emulator
        }
    }

    /// Whether software breakpoints are bytes in guest memory.
    var patchesMemory: Bool { self == .kvm }

    func makeMachine() throws -> any VirtualMachine {
        switch self {
        case .kvm:
            let device = OwnedDescriptor(unsafe open("/dev/kvm", O_RDWR | O_CLOEXEC))
            return try KVMMachine(
                borrowing: device, capabilities: try KVMProbe.run(device: device))
        case .emulator: return try EmulatorMachine()
        }
    }
}

/// A client's view of a guest on a real driver: it stands, or one question is open.
final class GuestSession {
    let bench: WorkerBench
    let stub: StubEnd
    /// As of the last stop.
    var state = VCPUState()

    /// Starts the guest of `image` and attaches to it at its entry point.
    convenience init(
        _ image: [UInt8], on driver: RealDriver, _ settings: WorkerSettings = .held
    ) throws {
        try self.init(image, settings, driver: driver.name) { try driver.makeMachine() }
    }

    /// The same on a machine that is made for it.
    init(
        _ image: [UInt8], _ settings: WorkerSettings = .held, driver: DriverName = .emulator,
        makeMachine: @escaping @Sendable () throws -> any VirtualMachine
    ) throws {
        bench = try WorkerBench()
        stub = try bench.connectStub()
        bench.start(image: image, settings, driver: driver, makeMachine: makeMachine)
        guard case .attached = try stub.ask(.attach), try stop() == .entryPoint else {
            throw WorkerBench.Failure.ended
        }
    }

    /// Waits for the next stop; nil when something else came.
    func stop() throws -> StopReason? {
        guard case .stopped(let event) = try stub.reply() else { return nil }
        state = event.state
        return event.reason
    }

    /// Resumes and waits for the stop.
    @discardableResult
    func resume(_ mode: ResumeMode = .continue) throws -> StopReason? {
        stub.send(.resume(mode))
        return try stop()
    }

    var rip: UInt64 { state.general.rip }

    /// Puts the guest somewhere else.
    func go(to address: UInt64) throws -> DebugReply {
        state.general.rip = address
        return try stub.ask(.writeRegisters(state.general))
    }

    func insert(_ kind: BreakpointKind, _ address: UInt64) throws -> DebugReply {
        try stub.ask(.insertBreakpoint(kind, GuestVirtualAddress(address)))
    }

    func remove(_ kind: BreakpointKind, _ address: UInt64) throws -> DebugReply {
        try stub.ask(.removeBreakpoint(kind, GuestVirtualAddress(address)))
    }

    /// What is read at a virtual address, or nothing.
    func read(_ address: UInt64, _ byteCount: UInt32 = 8) throws -> [UInt8] {
        let request = DebugRequest.readMemory(GuestVirtualAddress(address), byteCount: byteCount)
        if case .memory(let bytes) = try stub.ask(request) { return bytes }
        return []
    }

    func readPhysical(_ address: UInt64, _ byteCount: UInt32 = 8) throws -> [UInt8] {
        let request = DebugRequest.readPhysicalMemory(
            GuestPhysicalAddress(address), byteCount: byteCount)
        if case .memory(let bytes) = try stub.ask(request) { return bytes }
        return []
    }

    func report(_ inspection: Inspection) throws -> String {
        if case .report(let text) = try stub.ask(.inspect(inspection)) { return text }
        return ""
    }

    /// Where a virtual address is mapped to, as the page tables say now, and the entry's own place.
    func leaf(_ address: UInt64) throws -> (entry: UInt64, place: UInt64) {
        var table = state.system.cr3
        var place: UInt64 = 0
        var entry: UInt64 = 0
        for shift: UInt64 in [39, 30, 21, 12] {
            place = table + 8 * (address >> shift & 511)
            entry = try readPhysical(place).reversed().reduce(0) { $0 << 8 | UInt64($1) }
            table = entry & 0x000F_FFFF_FFFF_F000
        }
        return (entry, place)
    }
}

/// A guest that `tools/guests` has built, with its symbols.
struct BuiltGuest {
    let bytes: [UInt8]
    private let symbols: [String: UInt64]
    /// Where it is loaded.
    private let bias: UInt64

    static let kernel = BuiltGuest("tests/kernel", bias: 0x4000)

    /// Nil when it was not built.
    private init?(_ name: String, bias: UInt64) {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        let path = root.appendingPathComponent(".build/guests/\(name)").path
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        bytes = Array(data)
        self.bias = bias
        let list = Process()
        let output = Foundation.Pipe()
        list.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        list.arguments = ["nm", path]
        list.standardOutput = output
        guard (try? list.run()) != nil else { return nil }
        let text = String(
            decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        list.waitUntilExit()
        symbols = text.split(separator: "\n").reduce(into: [:]) { symbols, line in
            let words = line.split(separator: " ")
            if words.count == 3 { symbols[String(words[2])] = UInt64(words[0], radix: 16) }
        }
    }

    func address(_ symbol: String) throws -> UInt64 {
        guard let address = symbols[symbol] else { throw WorkerBench.Failure.ended }
        return address &+ bias
    }
}

extension WorkerSettings {
    /// A Hyperlight guest that is held at its entry point.
    static var hyperlight: WorkerSettings {
        var settings = held
        settings.abi = .hyperlight
        (settings.heap, settings.scratch) = (0x20000, 0x100000)
        (settings.input, settings.output) = (0x4000, 0x4000)
        return settings
    }
}
