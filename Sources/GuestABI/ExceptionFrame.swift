package import GuestModel

/// The registers that a Hyperlight guest had when it met an exception that it gives up at.
///
/// Its handler saves them at fixed places on the exception stack before it reports the exception on
/// port 102; the vCPU's own registers are the handler's then. All of it is guest memory: it is to be
/// shown and never to be trusted.
///
/// A jump to where nothing is mapped loses them: the handler reads the instruction for its report,
/// which faults in turn, and that second frame takes the place of the first one.
///
/// - Source: Hyperlight guest ABI 0.17, exception stack; Intel SDM volume 1, "FXSAVE Area".
package struct ExceptionFrame: Hashable, Sendable {
    /// The registers of the vCPU with those of the frame in their place.
    package let state: VCPUState
    package let extended: ExtendedState?
    /// What the CPU pushed, or 0.
    package let errorCode: UInt64

    private static let start = GuestVirtualAddress(0xFFFF_FFFF_FFFF_ED00)
    private static let byteCount = 0x2D0
    /// The pages that a guest never uses for anything but this stack.
    private static let stackBytes: UInt64 = 3 * 4096

    /// Reads the frame; nil when none can be there.
    ///
    /// `handler` are the vCPU's registers as it writes the first word to the abort port.
    package init?(in handler: VCPUState, memory: some PhysicalMemory) {
        // A guest that writes such a word from elsewhere has no frame: what lies there is old.
        let depth = Self.start.rawValue &- handler.general.rsp
        guard depth < Self.stackBytes,
            let range = GuestVirtualRange(start: Self.start, byteCount: Self.byteCount)
        else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        let count = readVirtual(
            range, system: handler.system, memory: memory, appendingTo: &bytes)
        guard count == Self.byteCount else { return nil }
        self.init(copy: bytes, handler: handler)
    }

    private init?(copy bytes: [UInt8], handler: VCPUState) {
        /// A word by the last three digits of its address.
        func word(_ address: Int) -> UInt64 {
            bytes.span.littleEndian(UInt64.self, at: UInt64(address - 0xD00)) ?? 0
        }
        var general = RegisterFile()
        (general.r15, general.r14, general.r13) = (word(0xF20), word(0xF28), word(0xF30))
        (general.r12, general.r11, general.r10) = (word(0xF38), word(0xF40), word(0xF48))
        (general.r9, general.r8, general.rbp) = (word(0xF50), word(0xF58), word(0xF60))
        (general.rdi, general.rsi, general.rdx) = (word(0xF68), word(0xF70), word(0xF78))
        (general.rcx, general.rbx, general.rax) = (word(0xF80), word(0xF88), word(0xF90))
        (general.rip, general.rflags, general.rsp) = (word(0xFA8), word(0xFB8), word(0xFC0))
        // No CPU has ever pushed an address that is none, or flags without the bit that is always one.
        guard PageWalk.isCanonical(GuestVirtualAddress(general.rip)), general.rflags & 2 != 0
        else { return nil }
        // In the pushed copy alone: RF always, and TF when a step led here.
        general.rflags &= ~(1 << 16 | 1 << 8)
        func selector(_ address: Int) -> UInt16 { UInt16(truncatingIfNeeded: word(address)) }
        var system = handler.system
        (system.ds.selector, system.gs.selector) = (selector(0xD00), selector(0xD08))
        (system.fs.selector, system.es.selector) = (selector(0xD10), selector(0xD18))
        (system.cs.selector, system.ss.selector) = (selector(0xFB0), selector(0xFC8))
        state = VCPUState(general: general, system: system)
        extended = ExtendedState(fxsave: Array(bytes[0x20..<0x220]))
        errorCode = word(0xFA0)
    }

    /// The exception of this frame, as the guest names its vector.
    package func exception(vector: UInt8) -> CPUException {
        let isPageFault = vector == CPUException.pageFault
        return CPUException(
            vector: vector, errorCode: Self.vectorsWithErrorCode.contains(vector) ? errorCode : 0,
            faultAddress: isPageFault ? GuestVirtualAddress(state.system.cr2) : nil)
    }

    /// - Source: Intel SDM volume 3, "Protected-Mode Exceptions and Interrupts".
    private static let vectorsWithErrorCode: Set<UInt8> = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30]
}
