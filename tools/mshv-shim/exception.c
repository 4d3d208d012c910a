// Exceptions that the monitor gives to the guest.
//
// KVM delivers them, all but #BP: that one it takes for the instruction at RIP and pushes an address that
// depends on the processor's maker and on what was intercepted before. It is delivered here, as the
// processor would: Intel SDM volume 3, "Exception and interrupt handling in 64-bit mode".
#include "shim.h"

enum { VECTOR_BREAKPOINT = 3 };

void exception_inject(struct vp *vp, uint8_t vector, bool has_error, uint32_t error) {
    memset(&vp->events->exception, 0, sizeof vp->events->exception);
    vp->events->flags = KVM_VCPUEVENT_VALID_SHADOW;
    vp->dirty |= SHADOW_EVENTS;
    vp->breakpoint = vector == VECTOR_BREAKPOINT;
    if (vp->breakpoint) return;
    vp->events->exception.injected = 1;
    vp->events->exception.nr = vector;
    vp->events->exception.has_error_code = has_error;
    vp->events->exception.error_code = error;
}

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;  // type 0-3, dpl 5-6, present 7
    uint16_t offset_middle;
    uint32_t offset_high, zero;
};

struct frame {
    uint64_t rip, cs, rflags, rsp, ss;
};

// The plain case: a gate of the kernel's own code segment that stays on the stack in use.
static bool deliver(struct vp *vp) {
    enum { TYPE_INTERRUPT = 0x8e, TYPE_TRAP = 0x8f, TYPE_MASK = 0x9f, PRIVILEGE = 3 };
    enum { FLAG_INTERRUPT = 1 << 9, FLAG_NESTED = 1 << 14, FLAG_RESUME = 1 << 16 };
    const struct kvm_dtable *idt = &vp->sregs->idt;
    uint64_t offset = VECTOR_BREAKPOINT * sizeof(struct gate);
    if (idt->limit < offset + sizeof(struct gate) - 1) return false;
    const struct gate *gate =
        guest_place(vp, idt->base + offset, sizeof *gate, HV_TRANSLATE_EXEMPT);
    if (!gate || (gate->type & TYPE_MASK) < TYPE_INTERRUPT || gate->stack != 0) return false;
    if (gate->selector != vp->sregs->cs.selector || gate->selector & PRIVILEGE) return false;

    uint64_t place = (vp->regs->rsp & ~15ull) - sizeof(struct frame);
    struct frame *frame =
        guest_place(vp, place, sizeof *frame, HV_TRANSLATE_WRITE | HV_TRANSLATE_EXEMPT);
    if (!frame) return false;
    uint64_t rflags = vp_rflags(vp);
    *frame = (struct frame){vp->regs->rip, vp->sregs->cs.selector, rflags, vp->regs->rsp,
                            vp->sregs->ss.selector};
    vp->regs->rsp = place;
    vp->regs->rip = gate->offset_low | (uint64_t)gate->offset_middle << 16
                    | (uint64_t)gate->offset_high << 32;
    vp->regs->rflags &= ~(__u64)(FLAG_NESTED | FLAG_RESUME);
    if ((gate->type & TYPE_MASK) != TYPE_TRAP) vp->regs->rflags &= ~(__u64)FLAG_INTERRUPT;
    vp->trap = false;
    vp->dirty |= SHADOW_REGS;
    return true;
}

void exception_deliver_breakpoint(struct vp *vp) {
    if (!vp->breakpoint) return;
    vp->breakpoint = false;
    if (deliver(vp)) return;
    trace("a #BP that only KVM can deliver");
    vp->events->exception.injected = 1;
    vp->events->exception.nr = VECTOR_BREAKPOINT;
}
