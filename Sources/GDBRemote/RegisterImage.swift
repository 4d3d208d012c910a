package import GuestModel

/// A vCPU's registers in the layout of the `g` packet.
///
/// Writes change the image; `state(replacing:)` and `extended(replacing:)` turn it back.
package struct RegisterImage: Sendable {
    /// Why a write is refused.
    package enum WriteError: Error, Hashable, Sendable {
        case unknownRegister
        case wrongLength
        case notWritable
    }

    package private(set) var bytes: [UInt8]
    private let layout: RegisterLayout
    /// Whether x87 and SSE are known; if not they read as unavailable.
    private let hasExtended: Bool
    private let hasUpperYMM: Bool
    private let hasKernelGSBase: Bool

    package init(_ state: VCPUState, extended: ExtendedState?, layout: RegisterLayout) {
        bytes = [UInt8](repeating: 0, count: layout.byteCount)
        self.layout = layout
        hasExtended = extended != nil
        hasKernelGSBase = extended?.kernelGSBase != nil
        hasUpperYMM = extended?.upperYMM != nil
        var span = bytes.mutableSpan
        Self.put(state.general, into: &span)
        Self.put(state.system, into: &span)
        guard let extended else { return }
        FXSave.put(extended, into: &span)
        span.put(extended.kernelGSBase ?? 0, at: 552)
        guard layout.hasAVX, let upper = extended.upperYMM else { return }
        for index in upper.indices { span[608 + index] = upper[index] }
    }

    /// Appends the hex pairs of all registers; those not known as `xx`.
    package func append(to encoder: inout PacketEncoder) {
        var known = 0
        for unknown in unknown {
            append(known..<unknown.lowerBound, to: &encoder)
            encoder.append(unavailable: unknown.count)
            known = unknown.upperBound
        }
        append(known..<bytes.count, to: &encoder)
    }

    /// The bytes of registers that cannot be shown, in ascending order.
    private var unknown: [Range<Int>] {
        var ranges: [Range<Int>] = []
        if !hasExtended { ranges.append(RegisterLayout.extendedStart..<536) }
        if !hasKernelGSBase { ranges.append(552..<560) }
        if layout.hasAVX, !hasUpperYMM { ranges.append(608..<864) }
        return ranges
    }

    /// Appends the hex pairs of one register; false for a number that is none.
    package func append(register number: UInt64, to encoder: inout PacketEncoder) -> Bool {
        guard let range = layout.range(of: number) else { return false }
        if isAvailable(Int(number)) {
            append(range, to: &encoder)
        } else {
            encoder.append(unavailable: range.count)
        }
        return true
    }

    /// Whether register `number` can be shown.
    package func isAvailable(_ number: Int) -> Bool {
        switch number {
        case RegisterLayout.kernelGSBase: hasKernelGSBase
        case RegisterLayout.fxsave: hasExtended
        case RegisterLayout.upperYMM: hasUpperYMM
        default: true
        }
    }

    private func append(_ range: Range<Int>, to encoder: inout PacketEncoder) {
        encoder.append(hex: bytes.span.extracting(range))
    }

    /// Changes one register.
    ///
    /// Selectors, and control registers but CR2, take only the value they have.
    package mutating func write(
        register number: UInt64, _ value: [UInt8]
    ) throws(WriteError) {
        guard let range = layout.range(of: number) else { throw .unknownRegister }
        guard value.count == range.count else { throw .wrongLength }
        guard isAvailable(Int(number)) else { throw .notWritable }
        if !isWritable(Int(number)) {
            guard bytes[range].elementsEqual(value) else { throw .notWritable }
        }
        bytes.replaceSubrange(range, with: value)
    }

    /// Changes the registers that `leading`, the front part of a `g` layout, covers.
    ///
    /// Registers that cannot be shown are left as they are: clients send zeros for them.
    package mutating func write(leading: [UInt8]) throws(WriteError) {
        guard leading.count <= layout.byteCount else { throw .wrongLength }
        var changed = self
        for number in 0..<layout.registerCount where isAvailable(number) {
            let range = RegisterLayout.range(of: number)
            guard range.upperBound <= leading.count else { break }
            try changed.write(register: UInt64(number), Array(leading[range]))
        }
        self = changed
    }

    private func isWritable(_ number: Int) -> Bool {
        // A page fault of a called function changes CR2, and the client puts it back.
        number == RegisterLayout.cr2
            || !RegisterLayout.segmentSelectors.contains(number)
                && !RegisterLayout.control.contains(number)
    }

    /// `old` with the general registers, the FS and GS bases and CR2 of this image.
    package func state(replacing old: VCPUState) -> VCPUState {
        var state = old
        for (index, field) in Self.generalFields.enumerated() {
            state.general[keyPath: field] = number(at: 8 * index, byteCount: 8)
        }
        // Bit 1 is always one; what is not named in the manual stays zero.
        let flags = number(at: 136, byteCount: 4) & 0x003F_7FD5 | 2
        state.general.rflags = old.general.rflags & ~0xFFFF_FFFF | flags
        state.system.fs.base = number(at: 536, byteCount: 8)
        state.system.gs.base = number(at: 544, byteCount: 8)
        state.system.cr2 = number(at: 568, byteCount: 8)
        return state
    }

    /// `old` with the x87, SSE and AVX registers and the kernel GS base of this image.
    package func extended(replacing old: ExtendedState) -> ExtendedState {
        let upper = layout.hasAVX && hasUpperYMM ? Array(bytes[608..<864]) : old.upperYMM
        let state = ExtendedState(
            fxsave: FXSave.replacing(old, by: bytes), upperYMM: upper,
            kernelGSBase: hasKernelGSBase ? number(at: 552, byteCount: 8) : nil)
        return state ?? old
    }

    private func number(at offset: Int, byteCount: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<byteCount { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
        return value
    }

    /// The order of the general registers in the `g` packet.
    private static var generalFields: [WritableKeyPath<RegisterFile, UInt64>] {
        [
            \.rax, \.rbx, \.rcx, \.rdx, \.rsi, \.rdi, \.rbp, \.rsp, \.r8, \.r9, \.r10, \.r11,
            \.r12, \.r13, \.r14, \.r15, \.rip,
        ]
    }

    private static func put(_ general: RegisterFile, into span: inout MutableSpan<UInt8>) {
        span.put(general.rax, at: 0)
        span.put(general.rbx, at: 8)
        span.put(general.rcx, at: 16)
        span.put(general.rdx, at: 24)
        span.put(general.rsi, at: 32)
        span.put(general.rdi, at: 40)
        span.put(general.rbp, at: 48)
        span.put(general.rsp, at: 56)
        span.put(general.r8, at: 64)
        span.put(general.r9, at: 72)
        span.put(general.r10, at: 80)
        span.put(general.r11, at: 88)
        span.put(general.r12, at: 96)
        span.put(general.r13, at: 104)
        span.put(general.r14, at: 112)
        span.put(general.r15, at: 120)
        span.put(general.rip, at: 128)
        span.put(general.rflags, at: 136, byteCount: 4)
    }

    private static func put(_ system: SystemRegisters, into span: inout MutableSpan<UInt8>) {
        span.put(UInt64(system.cs.selector), at: 140, byteCount: 4)
        span.put(UInt64(system.ss.selector), at: 144, byteCount: 4)
        span.put(UInt64(system.ds.selector), at: 148, byteCount: 4)
        span.put(UInt64(system.es.selector), at: 152, byteCount: 4)
        span.put(UInt64(system.fs.selector), at: 156, byteCount: 4)
        span.put(UInt64(system.gs.selector), at: 160, byteCount: 4)
        span.put(system.fs.base, at: 536)
        span.put(system.gs.base, at: 544)
        span.put(system.cr0, at: 560)
        span.put(system.cr2, at: 568)
        span.put(system.cr3, at: 576)
        span.put(system.cr4, at: 584)
        span.put(system.cr8, at: 592)
        span.put(system.efer, at: 600)
    }
}

extension MutableSpan<UInt8> {
    /// Stores the low `byteCount` bytes of `value`, lowest first.
    @inline(__always)
    mutating func put(_ value: UInt64, at offset: Int, byteCount: Int = 8) {
        for index in 0..<byteCount {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }
}
