import GuestModel
import Hypervisor
import LinuxSystem

/// The six debug registers as one value.
///
/// - Source: Intel SDM volume 3, "Debug Registers".
struct DebugRegisterImage: Hashable {
    static let names: [MSHVRegister] = [.dr0, .dr1, .dr2, .dr3, .dr6, .dr7]

    /// DR0 to DR3, DR6 and DR7.
    private(set) var values: [UInt64]

    /// DR6 with no condition in it; its fixed bits are one.
    static let noCondition: UInt64 = 0xFFFF_0FF0
    /// As a CPU has them after a reset.
    static let reset = DebugRegisterImage(values: [0, 0, 0, 0, noCondition, 0x400])

    init(values: [UInt64]) { self.values = values }

    /// With these armed, at most four.
    init(_ registers: [DebugRegister]) {
        self = .reset
        for (index, register) in registers.enumerated() {
            values[index] = register.address.rawValue
        }
        values[5] = registers.control
    }

    var entries: [(MSHVRegister, RegisterValue)] {
        zip(Self.names, values).map { ($0, RegisterValue($1)) }
    }
}

/// What the hypervisor intercepts for the debugger, and whose the debug registers are.
///
/// They are the guest's real ones: as long as breakpoints are in them its own values are kept here, and
/// a guest that uses them meanwhile loses what it writes. Steps alone leave them to the guest.
struct DebugInterception {
    private var interceptsDebug = false
    private var interceptsBreakpoint = false
    /// The guest's registers while ours are in the CPU.
    private var ofGuest: DebugRegisterImage?

    static let debugVector: UInt8 = 1
    static let breakpointVector: UInt8 = 3

    /// Whether the breakpoints in the debug registers are ours.
    var ownsRegisters: Bool { ofGuest != nil }

    /// Makes what is in force what is wanted.
    ///
    /// Intercepts are changed by nobody else. The registers can be changed by the guest, so ours are
    /// written before every run: one that disarms them gets no further than its next exit.
    mutating func apply(
        debug: Bool, registers: [DebugRegister], breakpoint: Bool, partition: MSHVPartition,
        vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        if breakpoint != interceptsBreakpoint {
            _ = try partition.hypercall(
                .interceptException(Self.breakpointVector, isOn: breakpoint))
            interceptsBreakpoint = breakpoint
        }
        // First off, last on: no trap of ours gets to the guest.
        if registers.isEmpty { try giveBackRegisters(vp) }
        if debug != interceptsDebug {
            _ = try partition.hypercall(.interceptException(Self.debugVector, isOn: debug))
            interceptsDebug = debug
        }
        if !registers.isEmpty { try take(DebugRegisterImage(registers), vp) }
    }

    private mutating func take(
        _ image: DebugRegisterImage, _ vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        if ofGuest == nil {
            let output = try vp.hypercall(.read(DebugRegisterImage.names))
            ofGuest = DebugRegisterImage(values: Hypercall.values(in: output).map(\.low))
        }
        // Its DR6 has no condition: what happened before is not to be taken for what happens now.
        _ = try vp.hypercall(.write(image.entries))
    }

    private mutating func giveBackRegisters(
        _ vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        guard let ofGuest else { return }
        _ = try vp.hypercall(.write(ofGuest.entries))
        self.ofGuest = nil
    }

    /// The guest's registers become those of a CPU after a reset.
    mutating func resetGuest(_ vp: borrowing OwnedDescriptor) throws(HypervisorError) {
        if ownsRegisters {
            ofGuest = .reset
        } else {
            _ = try vp.hypercall(.write(DebugRegisterImage.reset.entries))
        }
    }
}
