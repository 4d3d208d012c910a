import CUnicorn
import GuestModel
import Hypervisor

/// The one owner of a Unicorn engine: every unsafe call of this target is in here.
@safe final class Engine {
    private let handle: OpaquePointer

    /// - Throws: `.missing` when the library is another version or looks different inside.
    init() throws(HypervisorError) {
        var made: OpaquePointer?
        // SAFETY: the pointer is written once and lives for the call only.
        let result = unsafe cunicorn_open(&made)
        guard result == 0, let made = unsafe made else {
            throw .missing("the emulator cannot start: \(errorText(result))")
        }
        unsafe handle = made
    }

    deinit {
        // SAFETY: made in `init`, and nobody else has it.
        unsafe cunicorn_close(handle)
    }

    // MARK: memory and translated code

    func map(_ region: MemoryRegion) throws(HypervisorError) {
        // SAFETY: the caller of `VirtualMachine.map` keeps this memory for the machine's lifetime.
        let result = unsafe cunicorn_map(
            handle, region.start.rawValue, region.byteCount, region.isGuestWritable ? 1 : 0,
            region.host)
        try check(result, "mapping memory")
    }

    func forgetCode(at address: UInt64) throws(HypervisorError) {
        try check(unsafe cunicorn_forget_code(handle, address), "forgetting code")
    }

    func forgetAllCode() throws(HypervisorError) {
        try check(unsafe cunicorn_forget_all_code(handle), "forgetting code")
    }

    func forgetTranslations() throws(HypervisorError) {
        try check(unsafe cunicorn_forget_translations(handle), "forgetting translations")
    }

    // MARK: running

    func run(_ mode: RunMode) -> cunicorn_exit {
        var exit = cunicorn_exit()
        // SAFETY: the engine writes to `exit` during this call only.
        unsafe cunicorn_run(handle, mode == .step ? 1 : 0, &exit)
        return exit
    }

    /// Whether the instruction at `address` may be one that leaves the guest; no is certain.
    func mayLeave(at address: UInt64) -> Bool { unsafe cunicorn_may_leave(handle, address) != 0 }

    var isStopped: Bool { unsafe cunicorn_is_stopped(handle) != 0 }

    func forgetStop() { unsafe cunicorn_forget_stop(handle) }

    /// Valid as long as this object.
    var kick: Kick { unsafe .function(cunicorn_stop, UnsafeMutableRawPointer(handle)) }

    /// Makes runs end in front of `address`.
    /// - Returns: what `unwatch` takes.
    func watch(_ address: UInt64) throws(HypervisorError) -> Int {
        var hook = 0
        try check(unsafe cunicorn_watch(handle, address, &hook), "watching an address")
        return hook
    }

    func unwatch(_ hook: Int) throws(HypervisorError) {
        try check(unsafe cunicorn_unwatch(handle, hook), "no longer watching an address")
    }

    /// Makes runs and steps end behind an instruction that uses what `judge` finds watched; `watched`
    /// is what there is to find, at most `watchpointsMax`, and replaces what was before.
    func watch(_ watched: [Watchpoint], judge: WatchedMemory) throws(HypervisorError) {
        let ranges = watched.map { watchpoint in
            cunicorn_watched(
                start: watchpoint.range.start.rawValue, size: UInt64(watchpoint.range.byteCount),
                is_read_watched: watchpoint.kind.isForReads ? 1 : 0,
                is_write_watched: watchpoint.kind.isForWrites ? 1 : 0)
        }
        // SAFETY: the engine copies the ranges and keeps the judge, which lives as long as the vCPU
        // that runs the engine; the callback comes inside a run only.
        let result = unsafe ranges.withUnsafeBufferPointer { ranges in
            unsafe cunicorn_watch_memory(
                handle, ranges.baseAddress, ranges.count, askJudge,
                Unmanaged.passUnretained(judge).toOpaque())
        }
        try check(result, "watching memory")
    }

    /// How often watching memory has cost a call so far.
    var watchCalls: UInt64 { unsafe cunicorn_watch_calls(handle) }

    /// The memory that the instruction in `code`, which lies at `address`, may use; none when that
    /// cannot be told.
    func reaches(of code: [UInt8], at address: UInt64) -> [cunicorn_reach] {
        var reaches = [cunicorn_reach](
            repeating: cunicorn_reach(), count: Int(CUNICORN_REACHES_MAX))
        // SAFETY: the array has the room that the function fills at most.
        let count = unsafe cunicorn_find_reaches(handle, code, code.count, address, &reaches)
        return Array(reaches.prefix(Int(count)))
    }

    /// What the CPU noted about the exception it just raised; it is ready for another one then.
    func takeException() throws(HypervisorError) -> (errorCode: UInt32, isSoftware: Bool) {
        var errorCode: UInt32 = 0
        var isSoftware: Int32 = 0
        try check(
            unsafe cunicorn_take_exception(handle, &errorCode, &isSoftware), "taking an exception")
        return (errorCode, isSoftware != 0)
    }

    // MARK: registers

    var rip: UInt64 {
        get throws(HypervisorError) {
            var rip: UInt64 = 0
            try check(unsafe cunicorn_get_rip(handle, &rip), "reading RIP")
            return rip
        }
    }

    var general: RegisterFile {
        get throws(HypervisorError) {
            var general = cunicorn_general()
            try check(unsafe cunicorn_get_general(handle, &general), "reading registers")
            return RegisterFile(general)
        }
    }

    func setGeneral(_ registers: RegisterFile) throws(HypervisorError) {
        try check(
            unsafe withUnsafePointer(to: registers.emulatorGeneral) {
                unsafe cunicorn_set_general(handle, $0)
            }, "writing registers")
    }

    var control: cunicorn_control {
        get throws(HypervisorError) {
            var control = cunicorn_control()
            try check(unsafe cunicorn_get_control(handle, &control), "reading control registers")
            return control
        }
    }

    func setControl(_ control: cunicorn_control) throws(HypervisorError) {
        try check(
            unsafe withUnsafePointer(to: control) { unsafe cunicorn_set_control(handle, $0) },
            "writing control registers")
    }

    /// Ten of them, in the order of `SegmentIndex`.
    var segments: [cunicorn_segment] {
        get throws(HypervisorError) {
            var segments = [cunicorn_segment](
                repeating: cunicorn_segment(), count: Int(CUNICORN_SEGMENTS))
            // SAFETY: the array has the room that the function fills.
            try check(unsafe cunicorn_get_segments(handle, &segments), "reading segments")
            return segments
        }
    }

    func setSegments(_ segments: [cunicorn_segment]) throws(HypervisorError) {
        precondition(segments.count == Int(CUNICORN_SEGMENTS))
        // SAFETY: the count was just checked.
        try check(unsafe cunicorn_set_segments(handle, segments), "writing segments")
    }

    var vector: cunicorn_vector {
        get throws(HypervisorError) {
            var vector = cunicorn_vector()
            try check(unsafe cunicorn_get_vector(handle, &vector), "reading x87 and SSE state")
            return vector
        }
    }

    /// - Source: Intel SDM volume 4, "IA32_KERNEL_GS_BASE".
    private static let kernelGSBaseNumber: UInt32 = 0xC000_0102

    var kernelGSBase: UInt64 {
        get throws(HypervisorError) {
            var value: UInt64 = 0
            try check(
                unsafe cunicorn_get_msr(handle, Self.kernelGSBaseNumber, &value),
                "reading the kernel GS base")
            return value
        }
    }

    func setKernelGSBase(_ value: UInt64) throws(HypervisorError) {
        try check(
            unsafe cunicorn_set_msr(handle, Self.kernelGSBaseNumber, value),
            "writing the kernel GS base")
    }

    func setVector(_ vector: cunicorn_vector) throws(HypervisorError) {
        try check(
            unsafe withUnsafePointer(to: vector) { unsafe cunicorn_set_vector(handle, $0) },
            "writing x87 and SSE state")
    }
}

/// - Precondition: `context` is the `WatchedMemory` that was given together with this function.
private func askJudge(
    _ context: UnsafeMutableRawPointer?, _ instruction: UInt64, _ address: UInt64,
    _ byteCount: UInt32, _ isWrite: Int32
) -> Int32 {
    guard let context = unsafe context else { return 0 }
    // SAFETY: see above; it is alive, since its owner is in the middle of a run.
    let judge = unsafe Unmanaged<WatchedMemory>.fromOpaque(context).takeUnretainedValue()
    let access = PhysicalAccess(
        instruction: instruction, address: address, byteCount: UInt64(byteCount),
        isWrite: isWrite != 0)
    return judge.isHit(by: access) ? 1 : 0
}

/// Where a segment stands in what `Engine.segments` gives.
enum SegmentIndex: Int {
    case es, cs, ss, ds, fs, gs, ldt, tr, gdt, idt
}

private func check(_ result: Int32, _ what: String) throws(HypervisorError) {
    guard result != 0 else { return }
    throw .call("emulator: \(what): \(errorText(result))", errno: 0)
}

/// The words for a negative error number of `CUnicorn`.
func errorText(_ result: Int32) -> String {
    // SAFETY: the function gives a constant string for every number.
    guard let text = unsafe cunicorn_error_text(result) else { return "error \(result)" }
    return unsafe String(cString: text)
}
