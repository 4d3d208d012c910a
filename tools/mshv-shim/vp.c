// Virtual processors: state pages, the run loop's one round, VP state.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "shim.h"

enum { VECTOR_DEBUG = 1, VECTOR_BREAKPOINT = 3 };
enum { INSTRUCTION_INT3 = 0xcc, INSTRUCTION_HLT = 0xf4 };
enum { FLAG_TRAP = 1 << 8 };
enum { DR6_STICKY = 0xe00f };

static bool is_intercepted(const struct vp *vp, unsigned vector) {
    return vp->partition->intercepts >> vector & 1;
}

static long ask(struct vp *vp, unsigned long request, void *argument) {
    return kernel_ioctl(vp->object.fd, request, argument);
}

// --- Life -----------------------------------------------------------------------------------------

static int read_state(struct vp *vp) {
    long result = ask(vp, KVM_GET_REGS, vp->regs);
    if (result >= 0) result = ask(vp, KVM_GET_SREGS, vp->sregs);
    if (result >= 0) result = ask(vp, KVM_GET_VCPU_EVENTS, vp->events);
    return (int)result;
}

static int set_up(struct vp *vp, int fd) {
    struct partition *partition = vp->partition;
    long result = kernel_ioctl(fd, KVM_SET_CPUID2, &partition->cpuid);
    if (result < 0) return (int)result;

    long place = kernel_mmap(NULL, vp->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place < 0 && place > -4096) return (int)place;
    vp->run = (struct kvm_run *)place;
    // Shared, so that mmap on the VP can show the same pages a second time.
    place = kernel_mmap(NULL, sizeof *vp->pages, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0);
    if (place < 0 && place > -4096) return (int)place;
    vp->pages = (void *)place;

    if (vp->synced) {
        vp->regs = &vp->run->s.regs.regs;
        vp->sregs = &vp->run->s.regs.sregs;
        vp->events = &vp->run->s.regs.events;
        vp->run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
    } else {
        vp->regs = &vp->own.regs;
        vp->sregs = &vp->own.sregs;
        vp->events = &vp->own.events;
    }
    vp->xcr0 = 1;
    int error = object_adopt(&vp->object, fd);
    if (error < 0) return error;  // and fd is closed
    error = read_state(vp);
    if (error == 0 && !(know_debug(vp) && know_xsave(vp))) error = -EIO;
    return error;
}

void vp_destroy(struct vp *vp) {
    if (vp->run) kernel_munmap(vp->run, vp->run_size);
    if (vp->pages) kernel_munmap(vp->pages, sizeof *vp->pages);
    kernel_munmap(vp, sizeof *vp);
}

long vp_create(struct partition *partition, uint32_t index) {
    int machine = partition->object.fd;
    struct vp *vp = kernel_pages(sizeof *vp);
    if (!vp) return -ENOMEM;
    vp->object = (struct object){.kind = VP, .fd = -1};
    vp->partition = partition;
    vp->index = index;
    pthread_mutex_init(&vp->mutex, NULL);
    vp->synced = !settings.no_shared_registers
                 && kernel_ioctl(machine, KVM_CHECK_EXTENSION, (void *)KVM_CAP_SYNC_REGS)
                        == KVM_SYNC_X86_VALID_FIELDS;
    vp->run_size = partition->run_size;
    long fd = kernel_ioctl(machine, KVM_CREATE_VCPU, (void *)(uintptr_t)index);
    if (fd < 0) {
        vp_destroy(vp);
        return fd;
    }
    int error = set_up(vp, (int)fd);
    if (error < 0) {
        trace("create VP %u: %d from KVM", index, error);
        if (vp->object.numbers == 0) kernel_close((int)fd);
        vp_destroy(vp);
        return error;
    }
    partition->vps[index] = vp;
    return fd;
}

long vp_mmap(struct vp *vp, void *place, size_t size, int protection, int flags, off_t offset) {
    char *page;
    switch (offset) {
        case MSHV_MMAP_REGISTERS:
            if (settings.no_register_page) return -ENODEV;
            page = (char *)&vp->pages->registers;
            break;
        case MSHV_MMAP_MESSAGE: page = (char *)&vp->pages->message; break;
        case MSHV_MMAP_GHCB: return -ENODEV;
        default: return -EINVAL;
    }
    if (size == 0 || size > MSHV_PAGE_SIZE || (flags & MAP_TYPE) == MAP_PRIVATE) {
        trace("COMPLAINT: mmap of a state page with size %zu, flags %#x", size, (unsigned)flags);
        return -EINVAL;
    }
    // An old size of 0 makes a second mapping of the same shared pages.
    int how = MREMAP_MAYMOVE | (flags & MAP_FIXED ? MREMAP_FIXED : 0);
    long result =
        kernel_call(SYS_mremap, (long)page, 0, MSHV_PAGE_SIZE, how, (long)place, 0);
    if (result < 0 && result > -4096) return result;
    if (protection != (PROT_READ | PROT_WRITE)) {
        kernel_call(SYS_mprotect, result, MSHV_PAGE_SIZE, protection, 0, 0, 0);
    }
    trace("mmap of state page %ld", (long)offset / MSHV_PAGE_SIZE);
    return result;
}

// --- Into KVM and back ----------------------------------------------------------------------------

// Registers through the run page are taken at the next run, which is too late for a step: KVM sets TF
// when it is told to step, and takes it away when RIP is written later.
static long write_registers(struct vp *vp) {
    long result = 0;
    if (vp->dirty & SHADOW_SREGS) result = ask(vp, KVM_SET_SREGS, vp->sregs);
    if (result >= 0 && vp->dirty & SHADOW_REGS) result = ask(vp, KVM_SET_REGS, vp->regs);
    if (result < 0) return result;
    vp->dirty &= ~(uint32_t)(SHADOW_REGS | SHADOW_SREGS);
    return 0;
}

// HLT stops the guest without a step. Stepped, KVM's emulator goes over it, remembers that the guest
// wanted to halt, and halts it behind the next instruction that is not stepped.
static bool is_halt_ahead(struct vp *vp) {
    uint8_t byte = 0;
    return guest_read(vp, vp->regs->rip, &byte, 1) == 1 && byte == INSTRUCTION_HLT;
}

static long ask_debug(struct vp *vp) {
    struct kvm_guest_debug wanted = {0};
    bool step = vp->stepping && !is_halt_ahead(vp);
    if (is_intercepted(vp, VECTOR_BREAKPOINT)) {
        wanted.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    }
    if (is_intercepted(vp, VECTOR_DEBUG)) {
        // With no address enabled as well: it makes every #DB come to us.
        wanted.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        memcpy(wanted.arch.debugreg, vp->debug.db, sizeof vp->debug.db);
        wanted.arch.debugreg[7] = vp->debug.dr7;
    }
    if (step) wanted.control |= KVM_GUESTDBG_SINGLESTEP;
    bool is_same = memcmp(&wanted, &vp->asked, sizeof wanted) == 0;
    if (is_same && !(step && vp->dirty & SHADOW_REGS)) return 0;
    if (step) {
        long result = write_registers(vp);
        if (result < 0) return result;
    }
    long result = ask(vp, KVM_SET_GUEST_DEBUG, &wanted);
    if (result >= 0) vp->asked = wanted;
    return result;
}

static long write_state(struct vp *vp) {
    // What guests do to their debug registers is not seen otherwise.
    if (is_intercepted(vp, VECTOR_DEBUG) && !know_debug(vp)) return -EIO;
    long result = 0;
    if (vp->dirty & SHADOW_DEBUG) result = ask(vp, KVM_SET_DEBUGREGS, &vp->debug);
    if (result >= 0 && vp->dirty & SHADOW_XSAVE) result = ask(vp, KVM_SET_XSAVE, vp->xsave);
    if (result < 0) return result;

    exception_deliver_breakpoint(vp);
    // TF belongs to the guest unless its exception is ours.
    bool is_ours = vp->trap && is_intercepted(vp, VECTOR_DEBUG);
    if (is_ours != vp->stepping) vp->dirty |= SHADOW_REGS;
    vp->stepping = is_ours;
    if (vp->trap && !is_ours) vp->regs->rflags |= FLAG_TRAP;

    result = ask_debug(vp);
    if (result < 0) return result;
    if (!vp->synced) {
        result = write_registers(vp);
        if (result >= 0 && vp->dirty & SHADOW_EVENTS) {
            result = ask(vp, KVM_SET_VCPU_EVENTS, vp->events);
        }
        if (result < 0) return result;
    } else {
        _Static_assert(SHADOW_REGS == KVM_SYNC_X86_REGS && SHADOW_SREGS == KVM_SYNC_X86_SREGS
                           && SHADOW_EVENTS == KVM_SYNC_X86_EVENTS,
                       "the first three marks are KVM's");
        vp->run->kvm_dirty_regs = vp->dirty & KVM_SYNC_X86_VALID_FIELDS;
    }
    return 0;
}

// One KVM_RUN, and the registers as they are after it.
static long enter(struct vp *vp) {
    long result = ask(vp, KVM_RUN, NULL);
    // ENOSPC: without any memory KVM has no page tables and does not begin.
    if (result < 0 && result != -EINTR && result != -ENOSPC) return result;
    vp->dirty = 0;
    vp->known &= ~(uint32_t)(SHADOW_DEBUG | SHADOW_XSAVE);
    if (!vp->synced) {
        int error = read_state(vp);
        if (error < 0) return error;
    }
    // While stepping KVM hides TF; then it is as the monitor set it.
    if (!vp->stepping) vp->trap = vp->regs->rflags & FLAG_TRAP;
    vp->regs->rflags &= ~(__u64)FLAG_TRAP;
    return result;
}

// Lets KVM finish an instruction that it has left half done, and goes no further. A signal that comes
// meanwhile is not lost: its handler runs, and the monitor gets the message instead of EINTR.
static void finish_instruction(struct vp *vp) {
    enum { PARTS_MAX = 8 };  // accesses across pages come in parts
    vp->run->immediate_exit = 1;
    for (int i = 0; i < PARTS_MAX; i++) {
        vp->run->kvm_dirty_regs = 0;
        if (enter(vp) < 0 || vp->run->exit_reason != KVM_EXIT_MMIO) break;
    }
    vp->run->immediate_exit = 0;
}

// --- Stops ----------------------------------------------------------------------------------------

// How long the IN or OUT before `next` is. KVM does not say and RIP may be behind it already.
static uint64_t io_length(struct vp *vp, uint64_t next, const struct io_exit *io) {
    enum { IMMEDIATE = 0xe4, IMMEDIATE_MASK = 0xfc, SIZED = 1, REGISTER = 0xec, PREFIX = 0x66 };
    uint8_t bytes[3] = {0};
    if (guest_read(vp, next - sizeof bytes, bytes, sizeof bytes) != sizeof bytes) return 0;
    bool wide = io->size > 1;
    bool by_register = (bytes[2] & IMMEDIATE_MASK) == REGISTER && (bytes[2] & SIZED) == wide
                       && (uint16_t)vp->regs->rdx == io->port;
    bool by_immediate = (bytes[1] & IMMEDIATE_MASK) == IMMEDIATE && (bytes[1] & SIZED) == wide
                        && bytes[2] == io->port;
    // Where both fit (port 0xec to 0xef in DX too) the shorter one is as right.
    uint64_t length = by_register ? 1 : by_immediate ? 2 : 0;
    if (length != 0 && io->size == 2 && bytes[2 - length] == PREFIX) length++;
    return length;
}

static void stop_at_io(struct vp *vp) {
    struct io_exit io = {
        .port = vp->run->io.port,
        .size = vp->run->io.size,
        .is_out = vp->run->io.direction == KVM_EXIT_IO_OUT,
    };
    struct kvm_regs before = *vp->regs;
    finish_instruction(vp);
    uint64_t next = vp->regs->rip;
    *vp->regs = before;
    if (next == before.rip) vp->regs->rip -= io_length(vp, next, &io);
    vp->dirty |= SHADOW_REGS;
    message_io(vp, &io, next);
}

static void stop_at_memory(struct vp *vp) {
    uint64_t gpa = vp->run->mmio.phys_addr;
    bool is_write = vp->run->mmio.is_write;
    struct kvm_regs before = *vp->regs;
    if (!is_write) memset(vp->run->mmio.data, 0, sizeof vp->run->mmio.data);
    finish_instruction(vp);
    if (!is_write) {
        *vp->regs = before;
        vp->dirty |= SHADOW_REGS;
    }
    message_memory(vp, gpa, is_write ? HV_ACCESS_WRITE : HV_ACCESS_READ);
}

static void stop_at_debug(struct vp *vp) {
    if (vp->run->debug.arch.exception == VECTOR_BREAKPOINT) {
        return message_exception(vp, VECTOR_BREAKPOINT, 0);
    }
    uint64_t bits = vp->run->debug.arch.dr6 & DR6_STICKY;
    if (know_debug(vp)) {
        vp->debug.dr6 |= bits;
        vp->dirty |= SHADOW_DEBUG;
    }
    message_exception(vp, VECTOR_DEBUG, bits);
}

// Where the next instruction should come from there is no memory, or none for its page tables.
static bool stop_at_fetch(struct vp *vp) {
    uint64_t base = vp->sregs->cs.l ? 0 : vp->sregs->cs.base;
    uint64_t gpa = vp->sregs->cr3 & ~(uint64_t)(MSHV_PAGE_SIZE - 1);
    uint32_t result = guest_translate(vp, base + vp->regs->rip, HV_TRANSLATE_EXEMPT, &gpa);
    if (result != HV_TRANSLATE_GPA_UNMAPPED) return false;
    message_memory(vp, gpa, HV_ACCESS_EXECUTE);
    return true;
}

static long stop_at_internal_error(struct vp *vp) {
    uint8_t byte = 0;
    guest_read(vp, vp->regs->rip, &byte, 1);
    if (stop_at_fetch(vp)) return 0;
    if (byte == INSTRUCTION_INT3) {
        if (is_intercepted(vp, VECTOR_BREAKPOINT)) {
            message_exception(vp, VECTOR_BREAKPOINT, 0);
            return 0;
        }
        // The guest's own, on a KVM that cannot deliver it. Come back as after a stray signal instead of
        // running on: one that comes between two entries would get lost.
        const struct hv_value soft = {.low = 1 | 6 << 1 | 1 << 5 | VECTOR_BREAKPOINT << 16};
        register_set(vp, HV_PENDING_INTERRUPTION, &soft);
        return -EINTR;
    }
    uint64_t bytes = 0;
    guest_read(vp, vp->regs->rip, &bytes, sizeof bytes);
    trace("KVM cannot emulate at %#llx: bytes %#llx, suberror %u", (unsigned long long)vp->regs->rip,
          (unsigned long long)bytes, vp->run->internal.suberror);
    message_unsupported(vp, bytes);
    return 0;
}

static long make_message(struct vp *vp) {
    switch (vp->run->exit_reason) {
        case KVM_EXIT_IO: stop_at_io(vp); return 0;
        case KVM_EXIT_MMIO: stop_at_memory(vp); return 0;
        case KVM_EXIT_DEBUG: stop_at_debug(vp); return 0;
        case KVM_EXIT_INTERNAL_ERROR: return stop_at_internal_error(vp);
        case KVM_EXIT_HLT:
            if (settings.endless_halt) return kernel_call(SYS_pause, 0, 0, 0, 0, 0, 0);
            message_begin(vp, (uint32_t)HV_MESSAGE_HALT, sizeof(struct hv_intercept_header));
            return 0;
        case KVM_EXIT_SHUTDOWN:
            message_begin(vp, (uint32_t)HV_MESSAGE_UNRECOVERABLE, sizeof(struct hv_intercept_header));
            return 0;
        case KVM_EXIT_FAIL_ENTRY:
            message_begin(vp, (uint32_t)HV_MESSAGE_INVALID_REGISTER, sizeof(uint32_t));
            return 0;
        case KVM_EXIT_INTR: return -EINTR;
        default:
            trace("KVM exit %u means nothing here", vp->run->exit_reason);
            message_unsupported(vp, vp->run->exit_reason);
            return 0;
    }
}

static long run(struct vp *vp, void *buffer) {
    vp->explicit_suspend = vp->intercept_suspend = false;
    register_page_apply(vp);
    long result = write_state(vp);
    if (result >= 0) result = enter(vp);
    if (result == -EINVAL) {
        // KVM looks at registers here, the hypervisor when it enters.
        trace("KVM refuses the registers");
        message_begin(vp, (uint32_t)HV_MESSAGE_INVALID_REGISTER, sizeof(uint32_t));
        result = 0;
    } else if (result == -ENOSPC) {
        result = stop_at_fetch(vp) ? 0 : -EIO;
    } else if (result >= 0) {
        result = make_message(vp);
    }
    if (result == 0 || result == -EINTR) register_page_flush(vp);
    if (result < 0) {
        trace("run: %ld", result);
        return result;
    }
    vp->intercept_suspend = true;
    trace("run: message %#x at %#llx, KVM exit %u%s", vp->pages->message.type,
          (unsigned long long)vp->regs->rip, vp->run->exit_reason, vp->stepping ? ", stepping" : "");
    if (is_bad_pointer((uintptr_t)buffer, sizeof(struct hv_message))) return -EFAULT;
    memcpy(buffer, &vp->pages->message, sizeof(struct hv_message));
    return 0;
}

// --- VP state -------------------------------------------------------------------------------------

enum { AREA_PRESENT = 512, AREA_COMPACTED = 520, AREA_HEADER_END = 576, AREA_MXCSR = 24 };
#define COMPACTED (1ull << 63)

static uint64_t *area_word(void *area, size_t offset) { return (uint64_t *)((char *)area + offset); }

// For x87, SSE and AVX the compacted layout is the standard one. Only these are offered.
static long get_xsave(struct vp *vp, char *buffer) {
    if (vp->dirty & SHADOW_XSAVE) {
        if (ask(vp, KVM_SET_XSAVE, vp->xsave) < 0) return -EIO;
        vp->dirty &= ~(uint32_t)SHADOW_XSAVE;
    }
    // By the kernel, so that a buffer that cannot be written gives EFAULT.
    if (ask(vp, KVM_GET_XSAVE, buffer) < 0) return -EFAULT;
    memset(buffer + vp->partition->xsave_size, 0, MSHV_PAGE_SIZE - vp->partition->xsave_size);
    *area_word(buffer, AREA_PRESENT) &= vp->partition->xsave_states;
    *area_word(buffer, AREA_COMPACTED) = COMPACTED | vp->partition->xsave_states;
    return 0;
}

static long set_xsave(struct vp *vp, char *buffer) {
    enum { MXCSR_ALLOWED = 0xffff };
    uint32_t mxcsr;
    memcpy(&mxcsr, buffer + AREA_MXCSR, sizeof mxcsr);
    uint64_t states = vp->partition->xsave_states;
    if (*area_word(buffer, AREA_COMPACTED) != (COMPACTED | states)) {
        trace("COMPLAINT: XCOMP_BV %#llx is not what was read",
              (unsigned long long)*area_word(buffer, AREA_COMPACTED));
        return -EINVAL;
    }
    if (*area_word(buffer, AREA_PRESENT) & ~states || mxcsr & ~(uint32_t)MXCSR_ALLOWED
        || !is_zero(buffer + AREA_COMPACTED + 8, AREA_HEADER_END - AREA_COMPACTED - 8)) {
        return -EINVAL;
    }
    memset(vp->xsave, 0, sizeof vp->xsave);
    memcpy(vp->xsave, buffer, vp->partition->xsave_size);
    *area_word(vp->xsave, AREA_COMPACTED) = 0;
    vp->known |= SHADOW_XSAVE;
    vp->dirty |= SHADOW_XSAVE;
    return 0;
}

static long vp_state(struct vp *vp, struct mshv_vp_state *state, bool set) {
    if (is_bad_pointer((uintptr_t)state, sizeof *state)) return -EFAULT;
    if (state->type >= MSHV_STATE_COUNT || !is_zero(state->zero, sizeof state->zero)
        || state->size == 0 || state->size % MSHV_PAGE_SIZE != 0
        || state->buffer % MSHV_PAGE_SIZE != 0) {
        return -EINVAL;
    }
    if (state->buffer >= (1ull << 47)) return -EFAULT;
    bool is_xsave = state->type == MSHV_STATE_XSAVE;
    uint32_t size = is_xsave ? vp->partition->xsave_size : MSHV_PAGE_SIZE;
    uint32_t offered = state->size;
    state->size = size;
    if (size > offered) return -EINVAL;
    if (is_bad_pointer(state->buffer, size)) return -EFAULT;
    // Without KVM's own interrupt controller there is no LAPIC, and nothing of the synthetic devices.
    if (!is_xsave) return -EIO;
    char *buffer = (char *)(uintptr_t)state->buffer;
    return set ? set_xsave(vp, buffer) : get_xsave(vp, buffer);
}

long vp_ioctl(struct vp *vp, uint32_t request, void *argument) {
    switch (request) {
        case MSHV_RUN_VP: {
            __atomic_store_n(&vp->running, true, __ATOMIC_RELEASE);
            long result = run(vp, argument);
            __atomic_store_n(&vp->running, false, __ATOMIC_RELEASE);
            return result;
        }
        case MSHV_GET_VP_STATE: return vp_state(vp, argument, false);
        case MSHV_SET_VP_STATE: return vp_state(vp, argument, true);
        case MSHV_ROOT_HVCALL: return hypercall(vp->partition, vp, argument);
        default: trace("COMPLAINT: request %#x on a VP", request); return -ENOTTY;
    }
}
