import CLinux
import Glibc
package import GuestModel
package import Hypervisor
import LinuxSystem

/// The one vCPU of a KVM machine.
///
/// Each request to it is dear where KVM is nested (9 microseconds), so registers travel through the
/// shared page and a single step is one KVM_RUN and nothing else.
@safe package final class KVMVCPU: VirtualCPU {
    let descriptor: OwnedDescriptor
    let page: KVMRunPage
    let capabilities: DriverCapabilities
    private let access: RegisterAccess

    /// Requests made so far, for tests and measurements.
    package private(set) var ioctlCount = 0

    /// Registers in the page that the kernel has not seen.
    private var unseen: RegisterSet = []
    /// Registers in the page that are older than the kernel's; always empty with a shared page.
    private var stale: RegisterSet = []

    private var breakpoints = Breakpoints()
    /// What DR0 to DR3 are for.
    private(set) var debugRegisters: [DebugRegister] = []
    private var debugInForce = KVMGuestDebug.off

    /// The port of an OUT exit whose instruction may still have to be finished.
    private var openPortWrite: UInt16?
    private var isRIPBehindPortWrites: Bool?

    /// How registers reach the kernel.
    enum RegisterAccess {
        /// The kernel reads and writes them in the page as part of KVM_RUN (KVM_CAP_SYNC_REGS).
        case sharedPage
        /// One request for each set.
        case requests
    }

    struct RegisterSet: OptionSet {
        let rawValue: UInt64
        static let general = RegisterSet(rawValue: UInt64(KVM_SYNC_X86_REGS))
        static let system = RegisterSet(rawValue: UInt64(KVM_SYNC_X86_SREGS))
        /// Exceptions and interrupts on their way; every kernel that shares registers shares these.
        static let events = RegisterSet(rawValue: UInt64(KVM_SYNC_X86_EVENTS))
        static let all: RegisterSet = [.general, .system]
    }

    /// Takes over a vCPU that has not run.
    init(
        _ descriptor: consuming OwnedDescriptor, pageByteCount: Int, access: RegisterAccess,
        capabilities: DriverCapabilities
    ) throws(HypervisorError) {
        let page = try KVMRunPage(descriptor, byteCount: pageByteCount)
        try unsafe descriptor.kvm(.getRegisters, page.generalArgument)
        try unsafe descriptor.kvm(.getSystemRegisters, page.systemArgument)
        var xsave = kvm_xsave.reset
        try descriptor.kvm(.setXSave, &xsave)
        if access == .sharedPage { page.validRegisters = RegisterSet.all.rawValue }
        self.descriptor = descriptor
        self.page = page
        self.access = access
        self.capabilities = capabilities
    }

    // MARK: Registers

    package func readState() throws(HypervisorError) -> VCPUState {
        try finishPortWrite()
        try refresh(.all)
        return VCPUState(
            general: RegisterFile(page.general), system: SystemRegisters(page.system))
    }

    package func write(_ registers: RegisterFile) throws(HypervisorError) {
        // KVM moves RIP over an unfinished OUT only where RIP still points to it. A write that does
        // not move RIP away would therefore be changed behind our back.
        if openPortWrite != nil {
            try refresh(.general)
            if registers.rip == page.rip { try finishPortWrite() }
            openPortWrite = nil
        }
        page.general = kvm_regs(registers)
        stale.remove(.general)
        unseen.insert(.general)
    }

    package func write(_ system: SystemRegisters) throws(HypervisorError) {
        page.system = kvm_sregs(system)
        page.cr8 = system.cr8
        stale.remove(.system)
        unseen.insert(.system)
    }

    package func readExtendedState() throws(HypervisorError) -> ExtendedState? {
        // Without SSE no guest has changed it: not worth a request.
        guard capabilities.contains(.sse) else { return nil }
        var xsave = kvm_xsave()
        try call(.getXSave, &xsave)
        return xsave.state(hasAVX: try hasAVX(), kernelGSBase: try readKernelGSBase())
    }

    package func write(_ extended: ExtendedState) throws(HypervisorError) {
        if extended.upperYMM != nil, !(try hasAVX()) { throw .missing("AVX in this guest") }
        var xsave = kvm_xsave()
        try call(.getXSave, &xsave)
        xsave.replace(by: extended)
        try call(.setXSave, &xsave)
        guard let base = extended.kernelGSBase else { return }
        var register = KVMModelSpecificRegister.kernelGSBase(base)
        guard try call(.setModelSpecific, &register) == 1 else {
            throw .missing("the kernel GS base in this KVM")
        }
    }

    /// Whether the guest has AVX on at this moment.
    ///
    /// - Source: Intel SDM volume 1, "Detection of AVX Instructions".
    private func hasAVX() throws(HypervisorError) -> Bool {
        guard capabilities.contains(.avx) else { return false }
        try refresh(.system)
        // Without OSXSAVE no guest can have changed XCR0: not worth a request.
        guard page.system.cr4 & 1 << 18 != 0 else { return false }
        var registers = kvm_xcrs()
        try call(.getExtendedControl, &registers)
        return (registers.xcr0 ?? 0) & 0b110 == 0b110
    }

    private func readKernelGSBase() throws(HypervisorError) -> UInt64? {
        var register = KVMModelSpecificRegister.kernelGSBase()
        return try call(.getModelSpecific, &register) == 1 ? register.value : nil
    }

    package func reset() throws(HypervisorError) {
        // An access that ended the last run is finished by the next KVM_RUN, which moves RIP: that may
        // not happen to the registers that come now. Each piece of an access is an exit of its own.
        var pieces = 0
        while try enterWithoutRunning() == .exited, pieces < Self.accessPiecesMax { pieces += 1 }
        var xsave = kvm_xsave.reset
        try call(.setXSave, &xsave)
        var base = KVMModelSpecificRegister.kernelGSBase(0)
        // A KVM without that register has nothing to forget.
        _ = try call(.setModelSpecific, &base)
        guard access == .sharedPage else { return }
        page.clearEvents()
        unseen.insert(.events)
    }

    private static let accessPiecesMax = 8

    /// Makes `set` in the page as new as the kernel's.
    func refresh(_ set: RegisterSet) throws(HypervisorError) {
        let wanted = stale.intersection(set)
        if wanted.contains(.general) { try unsafe call(.getRegisters, page.generalArgument) }
        if wanted.contains(.system) { try unsafe call(.getSystemRegisters, page.systemArgument) }
        stale.subtract(wanted)
    }

    /// Hands changed registers to the kernel now instead of with the next KVM_RUN.
    private func handOverRegisters() throws(HypervisorError) {
        if unseen.contains(.system) { try unsafe call(.setSystemRegisters, page.systemArgument) }
        if unseen.contains(.general) { try unsafe call(.setRegisters, page.generalArgument) }
        unseen.subtract(.all)
    }

    // MARK: Breakpoints

    package func setBreakpoints(_ breakpoints: Breakpoints) throws(HypervisorError) {
        debugRegisters = try breakpoints.debugRegisters(of: "KVM", with: capabilities)
        self.breakpoints = breakpoints
    }

    package var patchesSoftwareBreakpoints: Bool { true }

    /// A KVM that emulates ring 0 notes the halt, reports the step, and looks at its note after the next
    /// instruction; no request takes the note back.
    package var keepsSteppedHalts: Bool { capabilities.isLimited }

    package func codeChanged() {}
    package func translationsChanged() {}

    /// Sets what KVM intercepts, if it is not in force already.
    private func intercept(_ wanted: KVMGuestDebug) throws(HypervisorError) {
        var isInForce = wanted == debugInForce
        if wanted.isStepping && unseen.contains(.general) {
            // KVM arms the trap flag for the RIP it knows when stepping is requested, and drops it
            // when registers with another RIP come later: registers first, the request again.
            try handOverRegisters()
            isInForce = false
        }
        guard !isInForce else { return }
        var argument = wanted.argument
        try call(.setGuestDebug, &argument)
        debugInForce = wanted
    }

    // MARK: Running

    package func run(_ mode: RunMode) throws(HypervisorError) -> VMExit {
        // Otherwise finishing it would count as the step.
        if mode == .step { try finishPortWrite() }
        try intercept(KVMGuestDebug(breakpoints, registers: debugRegisters, mode: mode))
        guard try enter() == .exited else { return .interrupted }
        let exit = try currentExit(isStepping: mode == .step)
        if case .portWrite(let port, _, _) = exit { openPortWrite = port }
        return exit
    }

    enum EntryResult { case exited, interrupted }

    /// One KVM_RUN, repeated while KVM asks for it.
    ///
    /// - Source: Linux `api.rst`, "KVM_RUN".
    private func enter() throws(HypervisorError) -> EntryResult {
        switch access {
        case .sharedPage: page.dirtyRegisters = unseen.rawValue
        case .requests: try handOverRegisters()
        }
        unseen = []
        openPortWrite = nil
        if access == .requests { stale = .all }
        for _ in 0..<Self.retriesMax {
            ioctlCount += 1
            let result = clinux_ioctl_value(descriptor.rawValue, KVMRequest.run.code, 0)
            switch result {
            case -EINTR: return .interrupted
            case -EAGAIN: continue
            default:
                try checkedKVM(result, .run)
                return .exited
            }
        }
        throw .call(KVMRequest.run.rawValue, errno: EAGAIN)
    }

    private static let retriesMax = 1000

    /// One KVM_RUN that comes back before the first instruction.
    @discardableResult
    func enterWithoutRunning() throws(HypervisorError) -> EntryResult {
        unsafe page.immediateExit.pointee = Self.ownImmediateExit
        defer { unsafe page.immediateExit.pointee = 0 }
        return try enter()
    }

    /// Moves RIP behind the OUT of the last exit, where KVM would do so at the next KVM_RUN only.
    ///
    /// Which of the two a KVM does is seen at the first OUT and remembered.
    private func finishPortWrite() throws(HypervisorError) {
        guard let port = openPortWrite else { return }
        guard isRIPBehindPortWrites != true else {
            openPortWrite = nil
            return
        }
        try refresh(.general)
        let ripBefore = page.rip
        // A kick stores 1: the driver's own value can be taken back without losing a kick.
        let isOurs = unsafe clinux_kvm_exchange_byte(page.immediateExit, 0, Self.ownImmediateExit)
        defer {
            if isOurs == 1 {
                _ = unsafe clinux_kvm_exchange_byte(page.immediateExit, Self.ownImmediateExit, 0)
            }
        }
        // It ends as interrupted, or as a debug exit when the OUT was stepped over: both say done.
        _ = try enter()
        try refresh(.general)
        // KVM always skips an OUT to port 0x7e before the exit: that one tells nothing.
        if port != 0x7E { isRIPBehindPortWrites = page.rip == ripBefore }
    }

    private static let ownImmediateExit: UInt8 = 2

    // MARK: Kick

    package var kick: Kick { unsafe .flag(page.immediateExit) }

    package func clearKick() { unsafe page.immediateExit.pointee = 0 }

    // MARK: Requests

    private func call(
        _ request: KVMRequest, _ argument: UnsafeMutableRawPointer
    ) throws(HypervisorError) {
        ioctlCount += 1
        try unsafe descriptor.kvm(request, argument)
    }

    @discardableResult
    private func call<Structure>(
        _ request: KVMRequest, _ structure: inout Structure
    ) throws(HypervisorError) -> Int32 {
        ioctlCount += 1
        return try descriptor.kvm(request, &structure)
    }
}
