// What the parts of the shim know of each other.
//
//   interpose.c  the C library's functions, and which descriptor is what
//   settings.c   environment, trace
//   kernel.c     bare system calls
//   mappings.c   what the host has mapped
//   partition.c  device and partition requests, guest memory
//   hypercall.c  ROOT_HVCALL
//   vp.c         VP requests: state pages, run, VP state
//   registers.c  register names and the register page
//   exception.c  exceptions that the monitor gives to the guest
//   message.c    intercept messages
//   guest.c      guest memory and page tables
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "mshv_abi.h"

// Everything stays inside the library but what interpose.c exports.
#pragma GCC visibility push(hidden)

// --- Kernel ---------------------------------------------------------------------------------------

// System calls without the C library, whose functions the shim replaces. They return -errno.
long kernel_call(long number, long a, long b, long c, long d, long e, long f);
long kernel_ioctl(int fd, unsigned long request, const void *argument);
long kernel_mmap(void *place, size_t size, int protection, int flags, int fd, off_t offset);
void kernel_munmap(void *place, size_t size);
int kernel_close(int fd);
void *kernel_pages(size_t size);  // zeroed and private, or NULL

// --- Settings -------------------------------------------------------------------------------------

struct settings {
    bool no_register_page, old_kernel, no_shared_registers, fast, endless_halt, verbose;
    uint32_t eagain_every;
    uint16_t status_code, status_call;
    uint32_t status_nth;
};
extern struct settings settings;

void settings_read(void);
bool tracing(void);
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
void complain_once(const char *sentence);

// --- Host mappings --------------------------------------------------------------------------------

// Set when the process puts a seccomp filter on itself: from then on nothing but ioctl.
extern bool confined;

void mappings_note(uintptr_t place, size_t size, bool writable);
int mappings_check(uint64_t hva, uint64_t size);  // 0, -EINVAL nothing there, -EFAULT not writable

// --- Objects --------------------------------------------------------------------------------------

enum object_kind { DEVICE = 1, PARTITION, VP };

// What a descriptor stands for. Several numbers may stand for one object: dup, dup3, F_DUPFD.
struct object {
    enum object_kind kind;
    int fd;  // one number that is open, for KVM; -1 when all are closed
    uint32_t numbers;
};

struct object *object_of(int fd);
int object_adopt(struct object *object, int fd);  // 0 or -errno; closes fd on failure

struct region {
    uint64_t first_page, pages, hva;  // pages 0: free
    uint8_t flags;
    uint64_t *bitmap;  // while access tracking is on
};

enum { REGIONS_MAX = 1024, CPUID_MAX = 256 };

struct vp;

struct partition {
    struct object object;
    pthread_mutex_t mutex;
    bool initialized, tracking, bits_set;
    uint64_t synthetic_features;
    uint32_t intercepts;  // bit n: exception vector n is ours
    uint32_t xsave_states, xsave_size;
    size_t run_size;  // of a vCPU's run page
    uint32_t hypercalls;          // counted for EAGAIN
    struct mshv_hypercall again;  // what was sent away with EAGAIN
    uint32_t status_calls;
    struct vp *vps[MSHV_MAX_VPS];
    size_t regions_used;  // none behind
    struct region regions[REGIONS_MAX];
    struct {  // struct kvm_cpuid2, which ends in a variable array
        uint32_t count, pad;
        struct kvm_cpuid_entry2 entries[CPUID_MAX];
    } cpuid;
};

// Guest state that we know better than KVM does, or not as well.
enum shadow {
    SHADOW_REGS = 1 << 0,
    SHADOW_SREGS = 1 << 1,
    SHADOW_EVENTS = 1 << 2,
    SHADOW_DEBUG = 1 << 3,
    SHADOW_XSAVE = 1 << 4,
};

struct vp {
    struct object object;
    struct partition *partition;
    uint32_t index;
    pthread_mutex_t mutex;

    struct kvm_run *run;
    size_t run_size;
    bool synced;  // the kernel shares registers through the run page

    struct {
        struct hv_register_page registers;
        struct hv_message message;
        uint8_t pad[MSHV_PAGE_SIZE - sizeof(struct hv_message)];
    } *pages;

    // Either in the run page or in `own`. TF is never in regs->rflags but in `trap`.
    struct kvm_regs *regs;
    struct kvm_sregs *sregs;
    struct kvm_vcpu_events *events;
    struct {
        struct kvm_regs regs;
        struct kvm_sregs sregs;
        struct kvm_vcpu_events events;
    } own;
    bool trap;
    bool breakpoint;  // a #BP to deliver at the next run, which KVM cannot be trusted with
    struct kvm_debugregs debug;
    uint8_t xsave[4096] __attribute__((aligned(64)));
    uint64_t xcr0;
    uint32_t known, dirty;  // of enum shadow

    struct kvm_guest_debug asked;  // what KVM_SET_GUEST_DEBUG was told last
    bool running, stepping, explicit_suspend, intercept_suspend;
};

#define object_container(pointer, type) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, object)))

// --- Parts ----------------------------------------------------------------------------------------

int device_usable(int fd);  // 0 or -errno, with a word in the trace
long device_ioctl(int fd, uint32_t request, void *argument);
long partition_ioctl(struct partition *partition, uint32_t request, void *argument);
void partition_release(struct partition *partition);
struct region *partition_region(struct partition *partition, uint64_t gpa);
int partition_track(struct partition *partition, bool on);

long hypercall(struct partition *partition, struct vp *through, void *argument);
int status_errno(uint16_t status);

long vp_create(struct partition *partition, uint32_t index);
long vp_ioctl(struct vp *vp, uint32_t request, void *argument);
long vp_mmap(struct vp *vp, void *place, size_t size, int protection, int flags, off_t offset);
void vp_destroy(struct vp *vp);
uint64_t vp_rflags(const struct vp *vp);

void exception_inject(struct vp *vp, uint8_t vector, bool has_error, uint32_t error);
void exception_deliver_breakpoint(struct vp *vp);

bool know_debug(struct vp *vp);
bool know_xsave(struct vp *vp);
uint16_t register_get(struct vp *vp, uint32_t name, struct hv_value *value);
uint16_t register_set(struct vp *vp, uint32_t name, const struct hv_value *value);
void general_get(const struct vp *vp, uint64_t *values);
struct hv_segment segment_out(const struct kvm_segment *segment);
uint64_t interruption_out(const struct vp *vp);
uint64_t interrupt_state_out(const struct vp *vp);
void register_page_apply(struct vp *vp);
void register_page_flush(struct vp *vp);

void message_begin(struct vp *vp, uint32_t type, size_t size);
struct io_exit {
    uint16_t port;
    uint8_t size;
    bool is_out;
};
void message_io(struct vp *vp, const struct io_exit *io, uint64_t next);
void message_memory(struct vp *vp, uint64_t gpa, uint8_t access);
void message_exception(struct vp *vp, uint16_t vector, uint64_t parameter);
void message_unsupported(struct vp *vp, uint64_t parameter);

void *guest_place(struct vp *vp, uint64_t gva, size_t size, uint64_t flags);
size_t guest_read(struct vp *vp, uint64_t gva, void *bytes, size_t count);
uint32_t guest_translate(struct vp *vp, uint64_t gva, uint64_t flags, uint64_t *gpa);

// A pointer that the kernel's copy_from_user would refuse at first sight. Others are trusted.
static inline bool is_bad_pointer(uint64_t pointer, size_t size) {
    return pointer < 65536 || pointer >= (1ull << 47) || size > (1ull << 47) - pointer;
}

static inline bool is_zero(const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (((const uint8_t *)bytes)[i] != 0) return false;
    }
    return true;
}

#pragma GCC visibility pop
