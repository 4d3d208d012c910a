import CLinux
import Glibc
import GuestModel
import Hypervisor
import LinuxSystem

/// The page in which the hypervisor shows a processor's registers, and takes changed ones from at the
/// next run.
///
/// It means something only while `isValid`: the hypervisor fills it when the processor stops.
/// - Source: Linux `include/hyperv/hvhdk.h`, `struct hv_vp_register_page`.
@safe final class RegisterPage {
    private typealias Layout = MSHVLayout.RegisterPage
    private let base: UnsafeMutableRawPointer

    /// The page of this processor, or nil from a hypervisor that gives none.
    static func map(_ vp: borrowing OwnedDescriptor) throws(HypervisorError) -> RegisterPage? {
        guard let base = unsafe clinux_map_shared(vp.rawValue, Layout.byteCount) else {
            guard errno == ENODEV else { throw .call("mmap of the register page", errno: errno) }
            return nil
        }
        return unsafe RegisterPage(base: base)
    }

    /// Takes over a mapping of one page.
    init(base: UnsafeMutableRawPointer) { unsafe self.base = base }

    deinit {
        // SAFETY: the mapping of `map`; no view of it was handed out.
        unsafe _ = munmap(base, Layout.byteCount)
    }

    // SAFETY of all below: every offset lies inside the page, and only this thread uses it, outside
    // of a run.

    private func load<Number>(_ offset: Int, as: Number.Type = Number.self) -> Number {
        unsafe base.load(fromByteOffset: offset, as: Number.self)
    }

    private func store<Number>(_ number: Number, at offset: Int) {
        unsafe base.storeBytes(of: number, toByteOffset: offset, as: Number.self)
    }

    /// Whether it shows registers at this moment, in the layout that this driver knows.
    var isValid: Bool {
        load(Layout.isValid, as: UInt8.self) != 0
            && load(Layout.version, as: UInt16.self) == Layout.versionKnown
    }

    var general: RegisterFile {
        var values = InlineArray<16, UInt64>(repeating: 0)
        for index in values.indices { values[index] = load(Layout.general + 8 * index) }
        var registers = RegisterFile(hardwareOrder: values)
        registers.rip = load(Layout.rip)
        registers.rflags = load(Layout.rflags)
        return registers
    }

    /// Puts what has changed into the page, for the next run.
    func write(_ registers: RegisterFile, _ changed: GeneralRegisterSet) {
        if changed.contains(.general) {
            let values = registers.hardwareOrder
            for index in values.indices { store(values[index], at: Layout.general + 8 * index) }
        }
        if changed.contains(.rip) { store(registers.rip, at: Layout.rip) }
        if changed.contains(.rflags) { store(registers.rflags, at: Layout.rflags) }
        // What the hypervisor has not taken yet stays marked.
        store(load(Layout.dirty, as: UInt32.self) | changed.rawValue, at: Layout.dirty)
    }

    /// Puts segments, CR0, CR3, CR4, CR8 and EFER into `system`; the page has no others.
    func read(into system: inout SystemRegisters) {
        func segment(_ index: Int) -> Segment {
            let place = Layout.segments + 16 * index
            return RegisterValue(load(place), high: load(place + 8)).segment
        }
        (system.es, system.cs, system.ss) = (segment(0), segment(1), segment(2))
        (system.ds, system.fs, system.gs) = (segment(3), segment(4), segment(5))
        (system.cr0, system.cr3) = (load(Layout.cr0), load(Layout.cr3))
        (system.cr4, system.cr8) = (load(Layout.cr4), load(Layout.cr8))
        system.efer = load(Layout.efer)
    }
}

/// Sets of registers as the page's dirty mask has them.
struct GeneralRegisterSet: OptionSet {
    let rawValue: UInt32
    static let general = GeneralRegisterSet(rawValue: 1 << 0)
    static let rip = GeneralRegisterSet(rawValue: 1 << 1)
    static let rflags = GeneralRegisterSet(rawValue: 1 << 4)
    static let all: GeneralRegisterSet = [.general, .rip, .rflags]
}
