import CUnicorn
import GuestModel

extension SystemRegisters {
    /// What the engine's segments and control registers look like in our words.
    init(control: cunicorn_control, segments: [cunicorn_segment]) {
        self.init(control: control)
        es = Segment(segments[SegmentIndex.es.rawValue])
        cs = Segment(segments[SegmentIndex.cs.rawValue])
        ss = Segment(segments[SegmentIndex.ss.rawValue])
        ds = Segment(segments[SegmentIndex.ds.rawValue])
        fs = Segment(segments[SegmentIndex.fs.rawValue])
        gs = Segment(segments[SegmentIndex.gs.rawValue])
        ldt = Segment(segments[SegmentIndex.ldt.rawValue])
        tr = Segment(segments[SegmentIndex.tr.rawValue])
        gdt = DescriptorTable(segments[SegmentIndex.gdt.rawValue])
        idt = DescriptorTable(segments[SegmentIndex.idt.rawValue])
    }

    /// The same without segments.
    init(control: cunicorn_control) {
        self.init()
        cr0 = control.cr0
        cr2 = control.cr2
        cr3 = control.cr3
        cr4 = control.cr4
        efer = control.efer
    }

    /// Protected mode, paging, long mode active, a 64-bit code segment of ring 0.
    var isLongModeRing0: Bool {
        cr0 & 0x8000_0001 == 0x8000_0001 && cr4 & 0x20 != 0 && efer & 0x500 == 0x500
            && cs.attributes & 0x2000 != 0 && cs.attributes & 0x60 == 0 && cs.selector & 3 == 0
    }

    var emulatorControl: cunicorn_control {
        cunicorn_control(cr0: cr0, cr2: cr2, cr3: cr3, cr4: cr4, cr8: cr8, efer: efer)
    }

    var emulatorSegments: [cunicorn_segment] {
        [es, cs, ss, ds, fs, gs, ldt, tr].map(cunicorn_segment.init)
            + [gdt, idt].map(cunicorn_segment.init)
    }
}

extension Segment {
    fileprivate init(_ segment: cunicorn_segment) {
        self.init(
            base: segment.base, limit: segment.limit,
            selector: UInt16(truncatingIfNeeded: segment.selector),
            attributes: UInt16(truncatingIfNeeded: segment.flags >> 8) & 0xF0FF)
    }
}

extension DescriptorTable {
    fileprivate init(_ segment: cunicorn_segment) {
        self.init(base: segment.base, limit: UInt16(truncatingIfNeeded: segment.limit))
    }
}

extension cunicorn_segment {
    fileprivate init(_ segment: Segment) {
        self.init(
            selector: UInt32(segment.selector), limit: segment.limit,
            flags: UInt32(segment.attributes & 0xF0FF) << 8, base: segment.base)
    }

    fileprivate init(_ table: DescriptorTable) {
        self.init(selector: 0, limit: UInt32(table.limit), flags: 0, base: table.base)
    }
}
