// Register names, their values in KVM's structures, and the register page.
#include <asm/kvm.h>

#include "shim.h"

// --- Shapes ---------------------------------------------------------------------------------------

struct hv_segment segment_out(const struct kvm_segment *segment) {
    struct hv_segment out = {
        .base = segment->base,
        .limit = segment->limit,
        .selector = segment->selector,
    };
    if (segment->unusable) return out;
    out.attributes = (uint16_t)((segment->type & 15) | (segment->s & 1) << 4 | (segment->dpl & 3) << 5
                                | (segment->present & 1) << 7 | (segment->avl & 1) << 12
                                | (segment->l & 1) << 13 | (segment->db & 1) << 14
                                | (segment->g & 1) << 15);
    return out;
}

static struct kvm_segment segment_in(const struct hv_segment *segment) {
    uint16_t bits = segment->attributes;
    return (struct kvm_segment){
        .base = segment->base,
        .limit = segment->limit,
        .selector = segment->selector,
        .type = bits & 15,
        .s = bits >> 4 & 1,
        .dpl = bits >> 5 & 3,
        .present = bits >> 7 & 1,
        .avl = bits >> 12 & 1,
        .l = bits >> 13 & 1,
        .db = bits >> 14 & 1,
        .g = bits >> 15 & 1,
        .unusable = !(bits >> 7 & 1),
    };
}

// In the order of names from HV_ES on.
static struct kvm_segment *segment_of(struct vp *vp, uint32_t number) {
    struct kvm_sregs *s = vp->sregs;
    struct kvm_segment *segments[] = {&s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs, &s->ldt, &s->tr};
    return segments[number];
}

// In the order of names from HV_RAX on, which is the hardware's and not KVM's.
static __u64 *general_of(struct vp *vp, uint32_t number) {
    struct kvm_regs *r = vp->regs;
    __u64 *places[] = {&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp, &r->rsi, &r->rdi,
                       &r->r8,  &r->r9,  &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15};
    return places[number];
}

void general_get(const struct vp *vp, uint64_t *values) {
    for (uint32_t i = 0; i < 16; i++) values[i] = *general_of((struct vp *)vp, i);
}

enum { FLAG_TRAP = 1 << 8, FLAG_FIXED = 1 << 1 };

uint64_t vp_rflags(const struct vp *vp) {
    return vp->regs->rflags | (vp->trap ? FLAG_TRAP : 0);
}

static uint16_t set_rflags(struct vp *vp, uint64_t value) {
    if (value >> 22 != 0) return HV_INVALID_REGISTER_VALUE;
    vp->trap = value & FLAG_TRAP;
    vp->regs->rflags = (value & ~(uint64_t)FLAG_TRAP) | FLAG_FIXED;
    vp->dirty |= SHADOW_REGS;
    return HV_SUCCESS;
}

// --- Events ---------------------------------------------------------------------------------------

enum { EVENT_INTERRUPT = 0, EVENT_NMI = 2, EVENT_EXCEPTION = 3, EVENT_SOFTWARE_EXCEPTION = 6 };
enum { VECTOR_DEBUG = 1, VECTOR_NMI = 2, VECTOR_BREAKPOINT = 3, VECTOR_PAGE_FAULT = 14 };

static uint64_t interruption(uint64_t type, uint64_t vector, bool has_error, uint64_t error) {
    return 1 | type << 1 | (uint64_t)has_error << 4 | vector << 16 | (has_error ? error << 32 : 0);
}

uint64_t interruption_out(const struct vp *vp) {
    const struct kvm_vcpu_events *events = vp->events;
    if (vp->breakpoint) return interruption(EVENT_EXCEPTION, VECTOR_BREAKPOINT, false, 0);
    if (events->exception.injected) {
        return interruption(EVENT_EXCEPTION, events->exception.nr, events->exception.has_error_code,
                            events->exception.error_code);
    }
    if (events->nmi.injected) return interruption(EVENT_NMI, VECTOR_NMI, false, 0);
    if (events->interrupt.injected && !events->interrupt.soft) {
        return interruption(EVENT_INTERRUPT, events->interrupt.nr, false, 0);
    }
    return 0;
}

uint64_t interrupt_state_out(const struct vp *vp) {
    return (vp->events->interrupt.shadow ? 1 : 0) | (vp->events->nmi.masked ? 2 : 0);
}

static void begin_events(struct vp *vp) {
    // Only what is marked as valid is taken; the rest of the structure is left as it is.
    vp->events->flags = KVM_VCPUEVENT_VALID_SHADOW;
    vp->dirty |= SHADOW_EVENTS;
}

static uint16_t set_interruption(struct vp *vp, uint64_t value) {
    uint8_t vector = (uint8_t)(value >> 16);
    uint64_t type = value >> 1 & 7;
    if (!(value & 1)) {
        begin_events(vp);
        vp->breakpoint = false;
        vp->events->exception.injected = vp->events->interrupt.injected = 0;
        vp->events->nmi.injected = 0;
        return HV_SUCCESS;
    }
    switch (type) {
        case EVENT_INTERRUPT:
            begin_events(vp);
            vp->events->interrupt.injected = 1;
            vp->events->interrupt.nr = vector;
            vp->events->interrupt.soft = 0;
            return HV_SUCCESS;
        case EVENT_NMI:
            begin_events(vp);
            vp->events->nmi.injected = 1;
            return HV_SUCCESS;
        case EVENT_SOFTWARE_EXCEPTION:
            // The processor pushes the address behind the instruction.
            vp->regs->rip += value >> 5 & 15;
            vp->dirty |= SHADOW_REGS;
            exception_inject(vp, vector, false, 0);
            return HV_SUCCESS;
        case EVENT_EXCEPTION:
            exception_inject(vp, vector, value >> 4 & 1, (uint32_t)(value >> 32));
            return HV_SUCCESS;
        default: return HV_INVALID_REGISTER_VALUE;
    }
}

// Pending event 0 of type exception: bit 8 deliver error code, vector, error code, parameter.
static uint16_t set_pending_event(struct vp *vp, const struct hv_value *value) {
    if (!(value->low & 1)) {
        begin_events(vp);
        vp->breakpoint = false;
        vp->events->exception.injected = 0;
        return HV_SUCCESS;
    }
    uint64_t vector = value->low >> 16 & 0xffff;
    if ((value->low >> 1 & 7) != 0 || vector > 31) return HV_INVALID_REGISTER_VALUE;
    if (vector == VECTOR_PAGE_FAULT) {
        vp->sregs->cr2 = value->high;
        vp->dirty |= SHADOW_SREGS;
    }
    if (vector == VECTOR_DEBUG) {
        if (!know_debug(vp)) return HV_INVALID_VP_STATE;
        vp->debug.dr6 |= value->high & 0xe00f;
        vp->dirty |= SHADOW_DEBUG;
    }
    exception_inject(vp, (uint8_t)vector, value->low >> 8 & 1, (uint32_t)(value->low >> 32));
    return HV_SUCCESS;
}

static struct hv_value pending_event(const struct vp *vp) {
    struct hv_value out = {0, 0};
    if (vp->breakpoint) out.low = 1 | VECTOR_BREAKPOINT << 16;
    if (!vp->events->exception.injected) return out;
    bool has_error = vp->events->exception.has_error_code;
    out.low = 1 | (uint64_t)has_error << 8 | (uint64_t)vp->events->exception.nr << 16
              | (has_error ? (uint64_t)vp->events->exception.error_code << 32 : 0);
    if (vp->events->exception.nr == VECTOR_PAGE_FAULT) out.high = vp->sregs->cr2;
    return out;
}

// --- State that costs a call to know ---------------------------------------------------------------

bool know_debug(struct vp *vp) {
    if (vp->known & SHADOW_DEBUG) return true;
    if (kernel_ioctl(vp->object.fd, KVM_GET_DEBUGREGS, &vp->debug) < 0) return false;
    vp->known |= SHADOW_DEBUG;
    return true;
}

bool know_xsave(struct vp *vp) {
    if (vp->known & SHADOW_XSAVE) return true;
    if (kernel_ioctl(vp->object.fd, KVM_GET_XSAVE, vp->xsave) < 0) return false;
    vp->known |= SHADOW_XSAVE;
    return true;
}

enum { AREA_FCW = 0, AREA_FSW = 2, AREA_TAG = 4, AREA_OPCODE = 6, AREA_RIP = 8, AREA_DATA = 16 };
enum { AREA_MXCSR = 24, AREA_MASK = 28, AREA_FP = 32, AREA_XMM = 160, AREA_PRESENT = 512 };

static uint8_t *area(struct vp *vp, size_t offset) { return vp->xsave + offset; }

// A component that is not marked as present counts as reset, whatever its bytes are.
static bool is_present(struct vp *vp, unsigned component) { return *area(vp, AREA_PRESENT) >> component & 1; }

static void make_present(struct vp *vp) {
    enum { FCW_RESET = 0x37f };
    if (!is_present(vp, 0)) {
        memset(area(vp, 0), 0, AREA_MXCSR);
        memset(area(vp, AREA_FP), 0, AREA_XMM - AREA_FP);
        *(uint16_t *)area(vp, AREA_FCW) = FCW_RESET;
    }
    if (!is_present(vp, 1)) memset(area(vp, AREA_XMM), 0, 256);
    *area(vp, AREA_PRESENT) |= 3;
}

static uint16_t get_float(struct vp *vp, uint32_t name, struct hv_value *value) {
    if (!know_xsave(vp)) return HV_INVALID_VP_STATE;
    make_present(vp);
    if (name < HV_FP0) {
        memcpy(value, area(vp, AREA_XMM + 16 * (name - HV_XMM0)), 16);
    } else if (name < HV_FP_CONTROL) {
        memcpy(value, area(vp, AREA_FP + 16 * (name - HV_FP0)), 16);
    } else if (name == HV_FP_CONTROL) {
        memcpy(value, area(vp, AREA_FCW), 16);  // the same shape as in the XSAVE area
    } else {
        memcpy(value, area(vp, AREA_DATA), 16);
    }
    return HV_SUCCESS;
}

static uint16_t set_float(struct vp *vp, uint32_t name, const struct hv_value *value) {
    enum { MXCSR_ALLOWED = 0xffff };
    if (!know_xsave(vp)) return HV_INVALID_VP_STATE;
    make_present(vp);
    if (name < HV_FP0) {
        memcpy(area(vp, AREA_XMM + 16 * (name - HV_XMM0)), value, 16);
    } else if (name < HV_FP_CONTROL) {
        memcpy(area(vp, AREA_FP + 16 * (name - HV_FP0)), value, 10);
    } else if (name == HV_FP_CONTROL) {
        memcpy(area(vp, AREA_FCW), value, 16);
        *area(vp, AREA_TAG + 1) = 0;
    } else {
        struct hv_xmm_control control;
        memcpy(&control, value, sizeof control);
        if (control.mxcsr & ~(uint32_t)MXCSR_ALLOWED) return HV_INVALID_REGISTER_VALUE;
        memcpy(area(vp, AREA_DATA), &control.data_pointer, 8);
        memcpy(area(vp, AREA_MXCSR), &control.mxcsr, 4);
    }
    vp->dirty |= SHADOW_XSAVE;
    return HV_SUCCESS;
}

static uint16_t set_xcr0(struct vp *vp, uint64_t value) {
    struct kvm_xcrs xcrs = {.nr_xcrs = 1};
    xcrs.xcrs[0].value = value;
    if (kernel_ioctl(vp->object.fd, KVM_SET_XCRS, &xcrs) < 0) return HV_INVALID_REGISTER_VALUE;
    vp->xcr0 = value;
    return HV_SUCCESS;
}

static void know_xcr0(struct vp *vp) {
    struct kvm_xcrs xcrs = {0};
    if (kernel_ioctl(vp->object.fd, KVM_GET_XCRS, &xcrs) < 0) return;
    for (uint32_t i = 0; i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; i++) {
        if (xcrs.xcrs[i].xcr == 0) vp->xcr0 = xcrs.xcrs[i].value;
    }
}

// --- MSRs -----------------------------------------------------------------------------------------

static uint32_t msr_of(uint32_t name) {
    enum { MTRR_PAIRS = 16 };
    switch (name) {
        case HV_TSC: return 0x10;
        case HV_KERNEL_GS_BASE: return 0xc0000102;
        case HV_PAT: return 0x277;
        case HV_SYSENTER_CS: return 0x174;
        case HV_SYSENTER_CS + 1: return 0x176;  // EIP, before ESP
        case HV_SYSENTER_CS + 2: return 0x175;
        case HV_STAR: return 0xc0000081;
        case HV_LSTAR: return 0xc0000082;
        case HV_LSTAR + 1: return 0xc0000083;
        case HV_LSTAR + 2: return 0xc0000084;
        case HV_MTRR_CAP: return 0xfe;
        case HV_MTRR_CAP + 1: return 0x2ff;
        case HV_MTRR_64K: return 0x250;
        case HV_MTRR_16K: return 0x258;
        case HV_MTRR_16K + 1: return 0x259;
        case HV_TSC_AUX: return 0xc0000103;
        case 0x8007c: return 0xd90;       // BNDCFGS
        case 0x8007d: return 0x1d9;       // DEBUGCTL
        case 0x8007e: return 0xe7;        // MPERF
        case 0x8007f: return 0xe8;        // APERF
        case 0x80084: return 0x48;        // SPEC_CTRL
        case 0x80085: return 0x49;        // PRED_CMD
        case 0x80086: return 0xc001011f;  // VIRT_SPEC_CTRL
        case 0x80088: return 0x122;       // TSX_CTRL
        case 0x8008b: return 0xda0;       // XSS
        case 0x8008c: return 0x6a0;       // U_CET
        case 0x8008d: return 0x6a2;       // S_CET
        case 0x80095: return 0x6e0;       // TSC_DEADLINE
        case 0x80096: return 0x3b;        // TSC_ADJUST
        case 0x80098: return 0xe1;        // UMWAIT_CONTROL
        case 0x80099: return 0x1c4;       // XFD
        case 0x8009a: return 0x1c5;       // XFD_ERR
        default: break;
    }
    if (name >= HV_MTRR_BASE0 && name < HV_MTRR_BASE0 + MTRR_PAIRS) {
        return 0x200 + 2 * (name - HV_MTRR_BASE0);
    }
    if (name >= HV_MTRR_MASK0 && name < HV_MTRR_MASK0 + MTRR_PAIRS) {
        return 0x201 + 2 * (name - HV_MTRR_MASK0);
    }
    if (name >= HV_MTRR_4K && name < HV_MTRR_4K + 8) return 0x268 + (name - HV_MTRR_4K);
    return 0;
}

struct one_msr {  // struct kvm_msrs, which ends in a variable array
    uint32_t count, pad;
    struct kvm_msr_entry entry;
};

static uint16_t get_msr(struct vp *vp, uint32_t name, struct hv_value *value) {
    struct one_msr msr = {.count = 1, .entry = {.index = msr_of(name)}};
    if (msr.entry.index == 0) return HV_INVALID_PARAMETER;
    if (kernel_ioctl(vp->object.fd, KVM_GET_MSRS, &msr) != 1) return HV_INVALID_PARAMETER;
    value->low = msr.entry.data;
    return HV_SUCCESS;
}

static uint16_t set_msr(struct vp *vp, uint32_t name, uint64_t value) {
    struct one_msr msr = {.count = 1, .entry = {.index = msr_of(name), .data = value}};
    if (msr.entry.index == 0) return HV_INVALID_PARAMETER;
    if (kernel_ioctl(vp->object.fd, KVM_SET_MSRS, &msr) != 1) return HV_INVALID_REGISTER_VALUE;
    return HV_SUCCESS;
}

// --- By name --------------------------------------------------------------------------------------

static __u64 *control_of(struct vp *vp, uint32_t name) {
    switch (name) {
        case HV_CR0:
        case HV_INTERMEDIATE_CR0: return &vp->sregs->cr0;
        case HV_CR2: return &vp->sregs->cr2;
        case HV_CR3:
        case HV_INTERMEDIATE_CR3: return &vp->sregs->cr3;
        case HV_CR4:
        case HV_INTERMEDIATE_CR4: return &vp->sregs->cr4;
        case HV_CR8:
        case HV_INTERMEDIATE_CR8: return &vp->sregs->cr8;
        case HV_EFER: return &vp->sregs->efer;
        case HV_APIC_BASE: return &vp->sregs->apic_base;
        default: return NULL;
    }
}

static __u64 *debug_of(struct vp *vp, uint32_t name) {
    if (name == HV_DR6) return &vp->debug.dr6;
    return name == HV_DR7 ? &vp->debug.dr7 : &vp->debug.db[name - HV_DR0];
}

uint16_t register_get(struct vp *vp, uint32_t name, struct hv_value *value) {
    *value = (struct hv_value){0, 0};
    __u64 *control = control_of(vp, name);
    if (control) {
        value->low = *control;
    } else if (name >= HV_RAX && name < HV_RIP) {
        value->low = *general_of(vp, name - HV_RAX);
    } else if (name == HV_RIP) {
        value->low = vp->regs->rip;
    } else if (name == HV_RFLAGS) {
        value->low = vp_rflags(vp);
    } else if (name >= HV_ES && name <= HV_TR) {
        struct hv_segment segment = segment_out(segment_of(vp, name - HV_ES));
        memcpy(value, &segment, sizeof segment);
    } else if (name == HV_IDTR || name == HV_GDTR) {
        const struct kvm_dtable *from = name == HV_IDTR ? &vp->sregs->idt : &vp->sregs->gdt;
        struct hv_table table = {.limit = from->limit, .base = from->base};
        memcpy(value, &table, sizeof table);
    } else if (name >= HV_XMM0 && name <= HV_XMM_CONTROL) {
        return get_float(vp, name, value);
    } else if (name >= HV_DR0 && name <= HV_DR7) {
        if (!know_debug(vp)) return HV_INVALID_VP_STATE;
        value->low = *debug_of(vp, name);
    } else if (name == HV_XCR0) {
        know_xcr0(vp);
        value->low = vp->xcr0;
    } else if (name == HV_PENDING_INTERRUPTION) {
        value->low = interruption_out(vp);
    } else if (name == HV_INTERRUPT_STATE) {
        value->low = interrupt_state_out(vp);
    } else if (name == HV_PENDING_EVENT_0) {
        *value = pending_event(vp);
    } else if (name == HV_EXPLICIT_SUSPEND) {
        value->low = vp->explicit_suspend;
    } else if (name == HV_INTERCEPT_SUSPEND) {
        value->low = vp->intercept_suspend;
    } else if (name != HV_ACTIVITY_STATE && name != HV_PENDING_EVENT_1 && name != HV_DELIVERABILITY
               && name != HV_PENDING_DEBUG_EXCEPTION) {
        return get_msr(vp, name, value);
    }
    return HV_SUCCESS;
}

uint16_t register_set(struct vp *vp, uint32_t name, const struct hv_value *value) {
    __u64 *control = control_of(vp, name);
    if (control) {
        *control = value->low;
        vp->dirty |= SHADOW_SREGS;
    } else if (name >= HV_RAX && name < HV_RIP) {
        *general_of(vp, name - HV_RAX) = value->low;
        vp->dirty |= SHADOW_REGS;
    } else if (name == HV_RIP) {
        vp->regs->rip = value->low;
        vp->dirty |= SHADOW_REGS;
    } else if (name == HV_RFLAGS) {
        return set_rflags(vp, value->low);
    } else if (name >= HV_ES && name <= HV_TR) {
        struct hv_segment segment;
        memcpy(&segment, value, sizeof segment);
        *segment_of(vp, name - HV_ES) = segment_in(&segment);
        vp->dirty |= SHADOW_SREGS;
    } else if (name == HV_IDTR || name == HV_GDTR) {
        struct hv_table table;
        memcpy(&table, value, sizeof table);
        struct kvm_dtable *to = name == HV_IDTR ? &vp->sregs->idt : &vp->sregs->gdt;
        to->limit = table.limit;
        to->base = table.base;
        vp->dirty |= SHADOW_SREGS;
    } else if (name >= HV_XMM0 && name <= HV_XMM_CONTROL) {
        return set_float(vp, name, value);
    } else if (name >= HV_DR0 && name <= HV_DR7) {
        bool is_status = name == HV_DR6 || name == HV_DR7;
        if (is_status && value->low >> 32 != 0) return HV_INVALID_REGISTER_VALUE;
        if (!know_debug(vp)) return HV_INVALID_VP_STATE;
        *debug_of(vp, name) = value->low;
        vp->dirty |= SHADOW_DEBUG;
    } else if (name == HV_XCR0) {
        return set_xcr0(vp, value->low);
    } else if (name == HV_PENDING_INTERRUPTION) {
        return set_interruption(vp, value->low);
    } else if (name == HV_INTERRUPT_STATE) {
        begin_events(vp);
        vp->events->interrupt.shadow = value->low & 1 ? KVM_X86_SHADOW_INT_STI : 0;
        vp->events->nmi.masked = value->low >> 1 & 1;
    } else if (name == HV_PENDING_EVENT_0) {
        return set_pending_event(vp, value);
    } else if (name == HV_EXPLICIT_SUSPEND) {
        vp->explicit_suspend = value->low & 1;
    } else if (name == HV_INTERCEPT_SUSPEND) {
        vp->intercept_suspend = value->low & 1;
    } else if (name == HV_ACTIVITY_STATE || name == HV_PENDING_EVENT_1 || name == HV_DELIVERABILITY
               || name == HV_PENDING_DEBUG_EXCEPTION) {
        return value->low == 0 ? HV_SUCCESS : HV_INVALID_REGISTER_VALUE;
    } else {
        return set_msr(vp, name, value->low);
    }
    return HV_SUCCESS;
}

// --- The register page ----------------------------------------------------------------------------

// The monitor may have the page mapped in another thread: every field is read once.
void register_page_apply(struct vp *vp) {
    struct hv_register_page *page = &vp->pages->registers;
    uint32_t dirty = page->dirty;
    if (dirty != 0 && !page->valid) trace("COMPLAINT: the register page is written while it is not valid");
    if (page->valid && dirty & HV_DIRTY_GENERAL) {
        for (uint32_t i = 0; i < 16; i++) *general_of(vp, i) = page->general[i];
        vp->dirty |= SHADOW_REGS;
    }
    if (page->valid && dirty & HV_DIRTY_RIP) {
        vp->regs->rip = page->rip;
        vp->dirty |= SHADOW_REGS;
    }
    if (page->valid && dirty & HV_DIRTY_RFLAGS) set_rflags(vp, page->rflags & ((1 << 22) - 1));
    if (page->valid && dirty & HV_DIRTY_XMM) {
        for (uint32_t i = 0; i < 6; i++) set_float(vp, HV_XMM0 + i, &page->xmm[i]);
    }
    if (page->valid && dirty & HV_DIRTY_SEGMENTS) {
        for (uint32_t i = 0; i < 6; i++) {
            struct hv_segment segment = page->segments[i];
            *segment_of(vp, i) = segment_in(&segment);
        }
        vp->dirty |= SHADOW_SREGS;
    }
    page->dirty = 0;
    page->valid = 0;
}

void register_page_flush(struct vp *vp) {
    enum { CR4_OSXSAVE = 1 << 18 };
    struct hv_register_page *page = &vp->pages->registers;
    if (settings.no_register_page) return;
    page->version = 1;
    page->dirty = 0;
    general_get(vp, page->general);
    page->rip = vp->regs->rip;
    page->rflags = vp_rflags(vp);
    // One call each, and only for guests that use them: the fast mode leaves what was there.
    if (!settings.fast) {
        for (uint32_t i = 0; i < 6; i++) get_float(vp, HV_XMM0 + i, &page->xmm[i]);
        if (vp->sregs->cr4 & CR4_OSXSAVE) know_xcr0(vp);
    }
    for (uint32_t i = 0; i < 6; i++) page->segments[i] = segment_out(segment_of(vp, i));
    page->cr0 = vp->sregs->cr0;
    page->cr3 = vp->sregs->cr3;
    page->cr4 = vp->sregs->cr4;
    page->cr8 = vp->sregs->cr8;
    page->efer = vp->sregs->efer;
    page->dr7 = vp->debug.dr7;
    page->pending_interruption = interruption_out(vp);
    page->interrupt_state = interrupt_state_out(vp);
    page->xcr0 = vp->xcr0;
    __atomic_store_n(&page->valid, 1, __ATOMIC_RELEASE);
}
