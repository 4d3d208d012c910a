import GuestModel
import Hypervisor

/// Every address that the engine looks out for, and why.
struct WatchList {
    private let engine: Engine
    private var breakpoints = Breakpoints()
    private var breakpointHooks: [UInt64: Int] = [:]
    private var kinds: [UInt64: DebugExit] = [:]
    /// Port instructions and HLTs met so far.
    ///
    /// Guest code can be replaced: a watch too many is harmless.
    private var leaving: [UInt64: Int] = [:]

    /// The engine compares each hooked address with the list of all, so this may not grow for ever.
    private static let leavingMax = 1024

    init(engine: Engine) { self.engine = engine }

    var catchesBreakpointInstruction: Bool { breakpoints.catchesBreakpointInstruction }

    func breakpoint(at address: UInt64) -> DebugExit? { kinds[address] }

    /// - Returns: whether translated code has to be forgotten for it to take effect.
    mutating func setBreakpoints(_ new: Breakpoints) throws(HypervisorError) -> Bool {
        guard new != breakpoints else { return false }
        kinds = [:]
        for address in new.software { kinds[address.rawValue] = .softwareBreakpoint(address) }
        for address in new.hardware { kinds[address.rawValue] = .hardwareBreakpoint(address) }
        // Clients set one after the other: only what changed may cost a hook.
        for (address, hook) in breakpointHooks where kinds[address] == nil {
            breakpointHooks[address] = nil
            try engine.unwatch(hook)
        }
        for address in kinds.keys where breakpointHooks[address] == nil {
            breakpointHooks[address] = try engine.watch(address)
        }
        breakpoints = new
        return true
    }

    /// Makes runs stop in front of these instructions, from this moment on.
    mutating func addLeaving(_ addresses: [UInt64]) throws(HypervisorError) {
        if leaving.count + addresses.count > Self.leavingMax {
            for hook in leaving.values { try engine.unwatch(hook) }
            leaving = [:]
            try engine.forgetAllCode()
        }
        for address in addresses where leaving[address] == nil {
            leaving[address] = try engine.watch(address)
            try engine.forgetCode(at: address)
        }
    }

    /// Forgets an instruction that leaves: the guest or the host put something else there.
    mutating func removeLeaving(_ address: UInt64) throws(HypervisorError) {
        if let hook = leaving.removeValue(forKey: address) { try engine.unwatch(hook) }
    }
}
