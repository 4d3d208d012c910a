// Intercept messages: what the hypervisor tells about a stop.
#include "shim.h"

enum {
    CR0_PE = 1 << 0,
    CR0_AM = 1 << 18,
    EFER_LMA = 1 << 10,
    DR7_ENABLES = 0xff,
    INSTRUCTION_MAX = 15,
};

static uint16_t state_of(const struct vp *vp) {
    const struct kvm_sregs *sregs = vp->sregs;
    uint16_t state = sregs->ss.dpl & 3;
    if (sregs->cr0 & CR0_PE) state |= 1 << 2;
    if (sregs->cr0 & CR0_AM) state |= 1 << 3;
    if (sregs->efer & EFER_LMA) state |= 1 << 4;
    if (vp->debug.dr7 & DR7_ENABLES) state |= 1 << 5;
    if (interruption_out(vp) & 1) state |= 1 << 6;
    if (interrupt_state_out(vp) & 1) state |= 1 << 12;
    return state;
}

void message_begin(struct vp *vp, uint32_t type, size_t size) {
    struct hv_message *message = &vp->pages->message;
    memset(message, 0, sizeof *message);
    message->type = type;
    message->size = (uint8_t)size;
    if (type == (uint32_t)HV_MESSAGE_INVALID_REGISTER || type == (uint32_t)HV_MESSAGE_UNSUPPORTED) {
        message->vp = vp->index;
        return;
    }
    message->header = (struct hv_intercept_header){
        .vp = vp->index,
        .length_and_cr8 = (uint8_t)((vp->sregs->cr8 & 15) << 4),
        .access = HV_ACCESS_EXECUTE,
        .state = state_of(vp),
        .cs = segment_out(&vp->sregs->cs),
        .rip = vp->regs->rip,
        .rflags = vp_rflags(vp),
    };
}

static void set_length(struct vp *vp, uint64_t length) {
    vp->pages->message.header.length_and_cr8 |= (uint8_t)(length & 15);
}

void message_unsupported(struct vp *vp, uint64_t parameter) {
    message_begin(vp, (uint32_t)HV_MESSAGE_UNSUPPORTED, sizeof(struct hv_unsupported_message));
    vp->pages->message.unsupported.parameter = parameter;
}

// The guest stands at the instruction; `next` is behind it.
void message_io(struct vp *vp, const struct io_exit *exit, uint64_t next) {
    enum { IN = 0x6c, OUT = 0x6e, REP = 0xf2, REPE = 0xf3, INFO_STRING = 1 << 3, INFO_REP = 1 << 4 };
    message_begin(vp, (uint32_t)HV_MESSAGE_IO_PORT, sizeof(struct hv_io_message));
    struct hv_io_message *io = &vp->pages->message.io;
    set_length(vp, next - vp->regs->rip);
    io->header.access = exit->is_out ? HV_ACCESS_WRITE : HV_ACCESS_READ;
    io->port = exit->port;
    io->info = exit->size & 7;
    io->byte_count = (uint8_t)guest_read(vp, vp->regs->rip, io->bytes, next - vp->regs->rip);
    for (uint8_t i = 0; i < io->byte_count; i++) {
        if (io->bytes[i] == REP || io->bytes[i] == REPE) io->info |= INFO_REP;
        if ((io->bytes[i] & 0xfe) == IN || (io->bytes[i] & 0xfe) == OUT) io->info |= INFO_STRING;
        if (io->bytes[i] >= 0xe4) break;  // the plain forms; an immediate port may follow
    }
    io->rax = vp->regs->rax;
    io->ds = segment_out(&vp->sregs->ds);
    io->es = segment_out(&vp->sregs->es);
    io->rcx = vp->regs->rcx;
    io->rsi = vp->regs->rsi;
    io->rdi = vp->regs->rdi;
}

void message_memory(struct vp *vp, uint64_t gpa, uint8_t access) {
    bool is_mapped = partition_region(vp->partition, gpa) != NULL;
    message_begin(vp,
                  (uint32_t)(is_mapped ? HV_MESSAGE_GPA_INTERCEPT : HV_MESSAGE_UNMAPPED_GPA),
                  sizeof(struct hv_memory_message));
    struct hv_memory_message *memory = &vp->pages->message.memory;
    memory->header.access = access;
    memory->gpa = gpa;
    // KVM keeps the virtual address of data to itself; that of a fetch is RIP.
    if (access == HV_ACCESS_EXECUTE) {
        memory->gva = vp->regs->rip;
        memory->info = 1;
    } else if (access == HV_ACCESS_READ) {
        memory->byte_count =
            (uint8_t)guest_read(vp, vp->regs->rip, memory->bytes, INSTRUCTION_MAX);
    }
}

void message_exception(struct vp *vp, uint16_t vector, uint64_t parameter) {
    enum { BREAKPOINT = 3, INFO_SOFTWARE = 1 << 1 };
    message_begin(vp, (uint32_t)HV_MESSAGE_EXCEPTION, sizeof(struct hv_exception_message));
    struct hv_exception_message *exception = &vp->pages->message.exception;
    exception->vector = vector;
    exception->parameter = parameter;
    if (vector == BREAKPOINT) {
        set_length(vp, 1);
        exception->info = INFO_SOFTWARE;
    }
    exception->byte_count =
        (uint8_t)guest_read(vp, vp->regs->rip, exception->bytes, INSTRUCTION_MAX);
    exception->ds = segment_out(&vp->sregs->ds);
    exception->ss = segment_out(&vp->sregs->ss);
    general_get(vp, exception->general);
}
