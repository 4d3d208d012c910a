import GuestModel
import Hypervisor

/// The last exits of the vCPU, for `monitor exits`.
///
/// Noting one costs a few comparisons and no request to the hypervisor, so RIP is known only where it
/// was read anyway.
struct ExitHistory {
    private struct Entry {
        var exit: VMExit
        /// Nil where it was not read.
        var rip: UInt64?
        /// How many exits of this kind came in a row; what is told is the last one.
        var count: UInt64 = 1
    }

    private var recent = RecentList<Entry>(capacity: 32)
    private(set) var exitCount: UInt64 = 0
    private(set) var stepCount: UInt64 = 0

    mutating func note(_ exit: VMExit, _ mode: RunMode) {
        exitCount &+= 1
        if mode == .step, exit != .interrupted { stepCount &+= 1 }
        guard let newest = recent.newest, newest.exit.isLike(exit) else {
            return recent.append(Entry(exit: exit))
        }
        recent.changeNewest {
            $0 = Entry(exit: exit, rip: nil, count: $0.count &+ 1)
        }
    }

    /// Where the guest stands after the last exit.
    mutating func note(rip: GuestVirtualAddress) {
        recent.changeNewest { $0.rip = rip.rawValue }
    }

    func append(to report: inout Report) {
        let entries = recent.elements
        guard !entries.isEmpty else { return report.line("the guest has not run yet") }
        for entry in entries {
            let place = entry.rip.map { "  rip \($0.hex)" } ?? ""
            let count = entry.count == 1 ? "" : "  x\(entry.count)"
            report.line(entry.exit.text + place + count)
        }
    }
}

extension VMExit {
    /// Whether both are the same event again, whatever the value was.
    fileprivate func isLike(_ other: VMExit) -> Bool {
        switch (self, other) {
        case (.portWrite(let port, _, _), .portWrite(let otherPort, _, _)): port == otherPort
        case (.interrupted, .interrupted), (.halted, .halted): true
        case (.debug(let debug), .debug(let otherDebug)): debug == otherDebug
        default: false
        }
    }

    fileprivate var text: String {
        switch self {
        case .portWrite(let port, let size, let value):
            "OUT port \(port), value \(value.hex), size \(size)"
        case .portUnsupported(let port): "IN or string access, port \(port)"
        case .halted: "HLT"
        case .memory(let address, let access):
            "\(access) of physical \(address.rawValue.hex), which it may not touch"
        case .fetchUnmapped(let address): "fetch from \(address.rawValue.hex), where no memory is"
        case .debug(.step): "step"
        case .debug(.hardwareBreakpoint(let address)):
            "hardware breakpoint at \(address.rawValue.hex)"
        case .debug(.softwareBreakpoint(let address)): "int3 at \(address.rawValue.hex)"
        case .debug(.watchpoint(let kind, let address)):
            "\(kind) watchpoint at \(address.rawValue.hex)"
        case .debug(.guest): "debug trap of the guest's own"
        case .shutdown: "triple fault"
        case .interrupted: "interrupted by the host"
        case .unsupportedInstruction: "instruction that the driver cannot execute"
        case .failed(let text): "failed: \(text)"
        }
    }
}
