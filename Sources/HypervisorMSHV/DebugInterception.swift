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

    /// The same without conditions: what happened before is not to be taken for what happens now.
    var withoutCondition: DebugRegisterImage {
        var image = self
        image.values[4] = Self.noCondition
        return image
    }

    var entries: [(MSHVRegister, RegisterValue)] {
        zip(Self.names, values).map { ($0, RegisterValue($1)) }
    }
}

/// What the hypervisor intercepts for the debugger, and whose the debug registers are.
///
/// They are the guest's real ones: as long as #DB is intercepted its own values are kept here, and a
/// guest that uses them meanwhile loses what it writes.
struct DebugInterception {
    private var interceptsDebug = false
    private var interceptsBreakpoint = false
    /// The guest's registers while #DB is intercepted.
    private var ofGuest: DebugRegisterImage?
    /// What is in the CPU then.
    private var inForce: DebugRegisterImage?

    static let debugVector: UInt8 = 1
    static let breakpointVector: UInt8 = 3

    /// Makes what is in force what is wanted, with no call when it is already.
    mutating func apply(
        debug: Bool, registers: [DebugRegister], breakpoint: Bool, partition: MSHVPartition,
        vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        if breakpoint != interceptsBreakpoint {
            _ = try partition.hypercall(
                .interceptException(Self.breakpointVector, isOn: breakpoint))
            interceptsBreakpoint = breakpoint
        }
        if debug {
            try begin(partition, vp)
            // Steps alone leave the guest its own breakpoints, whose traps it gets.
            try write(registers.isEmpty ? ofGuest : DebugRegisterImage(registers), vp)
        } else {
            try end(partition, vp)
        }
    }

    private mutating func begin(
        _ partition: MSHVPartition, _ vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        if !interceptsDebug {
            _ = try partition.hypercall(.interceptException(Self.debugVector, isOn: true))
            interceptsDebug = true
        }
        guard ofGuest == nil else { return }
        let output = try vp.hypercall(.read(DebugRegisterImage.names))
        ofGuest = DebugRegisterImage(values: Hypercall.values(in: output).map(\.low))
    }

    private mutating func write(
        _ image: DebugRegisterImage?, _ vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        guard let wanted = image?.withoutCondition, wanted != inForce else { return }
        _ = try vp.hypercall(.write(wanted.entries))
        inForce = wanted
    }

    private mutating func end(
        _ partition: MSHVPartition, _ vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) {
        if let ofGuest {
            _ = try vp.hypercall(.write(ofGuest.entries))
            self.ofGuest = nil
            inForce = nil
        }
        guard interceptsDebug else { return }
        _ = try partition.hypercall(.interceptException(Self.debugVector, isOn: false))
        interceptsDebug = false
    }

    /// The guest's registers become those of a CPU after a reset.
    mutating func resetGuest(_ vp: borrowing OwnedDescriptor) throws(HypervisorError) {
        if ofGuest != nil {
            ofGuest = .reset
        } else {
            _ = try vp.hypercall(.write(DebugRegisterImage.reset.entries))
        }
    }
}
