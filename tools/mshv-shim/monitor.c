// A small monitor that checks what /dev/mshv does, one sentence a check.
//
//   monitor [--hypercalls] [--old | --new] [--device FD] [--names] [--confine CODES]
//
//   --hypercalls   no register page, although there may be one
//   --old, --new   insist on what Linux 6.15, or 6.19, says where they differ; else both will do
//   --device FD    the device is open already
//   --names        only show which register names can be read
//   --confine A,B  go on under a seccomp filter that allows the requests of a running VP and those
//
// It knows nothing of the shim: on a machine with the Microsoft hypervisor it is the first program to
// run. Exit status 0: every check passed. 1: some failed. 77: there is no device.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "mshv_abi.h"

// --- Saying it ------------------------------------------------------------------------------------

static int passed, failed;

__attribute__((format(printf, 2, 3))) static bool check(bool fine, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%s ", fine ? "ok  " : "FAIL");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    *(fine ? &passed : &failed) += 1;
    return fine;
}

static void check_same(uint64_t found, uint64_t wanted, const char *what) {
    if (found == wanted) {
        check(true, "%s", what);
    } else {
        check(false, "%s: %#" PRIx64 " instead of %#" PRIx64, what, found, wanted);
    }
}

static void note(const char *what, uint64_t value) { printf("     %s: %#" PRIx64 "\n", what, value); }

// --- The device -----------------------------------------------------------------------------------

static enum { ANY_KERNEL, OLD_KERNEL, NEW_KERNEL } kernel;
static int device, partition, vp;
static bool use_page = true;
static volatile struct hv_register_page *page;
static struct hv_message *message_page;
static struct hv_message message;
static unsigned repeated;  // hypercalls, after EAGAIN

// 0 or the error number.
static int request(int fd, unsigned long code, void *argument) {
    return ioctl(fd, code, argument) < 0 ? errno : 0;
}

struct answer {
    int error;
    uint16_t status, reps;
};

static struct answer call(int fd, uint16_t code, uint16_t reps, void *input, size_t input_size,
                          void *output, size_t output_size) {
    for (;;) {
        struct mshv_hypercall arguments = {
            .code = code,
            .reps = reps,
            .input_size = (uint16_t)input_size,
            .output_size = (uint16_t)output_size,
            .input = (uintptr_t)input,
            .output = (uintptr_t)output,
        };
        struct answer answer = {.error = request(fd, MSHV_ROOT_HVCALL, &arguments)};
        answer.status = arguments.status;
        answer.reps = arguments.reps;
        if (answer.error != EAGAIN || answer.status != HV_INSUFFICIENT_MEMORY) return answer;
        repeated++;
    }
}

static struct answer set_property(int fd, uint32_t property, uint64_t value) {
    struct hv_property_input input = {.property = property, .value = value};
    return call(fd, HVCALL_SET_PARTITION_PROPERTY, 0, &input, sizeof input, NULL, 0);
}

static struct answer get_property(int fd, uint32_t property, uint64_t *value) {
    struct hv_property_input input = {.property = property};
    return call(fd, HVCALL_GET_PARTITION_PROPERTY, 0, &input, HV_GET_PROPERTY_INPUT_SIZE, value,
                sizeof *value);
}

static struct answer intercept(uint32_t type, uint64_t parameter, uint32_t access) {
    struct hv_intercept_input input = {.access = access, .type = type, .parameter = parameter};
    return call(partition, HVCALL_INSTALL_INTERCEPT, 0, &input, sizeof input, NULL, 0);
}

static struct answer get_value(uint32_t name, struct hv_value *value) {
    struct {
        struct hv_vp_header header;
        uint32_t name;
    } input = {.name = name};
    return call(vp, HVCALL_GET_VP_REGISTERS, 1, &input, 20, value, sizeof *value);
}

static struct answer set_value(uint32_t name, struct hv_value value) {
    struct {
        struct hv_vp_header header;
        struct hv_register entry;
    } input = {.entry = {.name = name, .value = value}};
    return call(vp, HVCALL_SET_VP_REGISTERS, 1, &input, sizeof input, NULL, 0);
}

static int map(uint64_t gpa, void *hva, uint64_t size, uint8_t flags) {
    struct mshv_memory_region region = {
        .size = size, .first_page = gpa / MSHV_PAGE_SIZE, .hva = (uintptr_t)hva, .flags = flags};
    return request(partition, MSHV_SET_GUEST_MEMORY, &region);
}

// --- Registers: through the page where it may be used ----------------------------------------------

static bool page_is_valid(void) { return use_page && page && page->valid; }

static uint64_t get(uint32_t name) {
    if (page_is_valid()) {
        if (name >= HV_RAX && name < HV_RIP) return page->general[name - HV_RAX];
        if (name == HV_RIP) return page->rip;
        if (name == HV_RFLAGS) return page->rflags;
    }
    struct hv_value value = {0};
    struct answer answer = get_value(name, &value);
    if (answer.error != 0) check(false, "register %#x is read: status %#x", name, answer.status);
    return value.low;
}

static void set(uint32_t name, uint64_t value) {
    if (page_is_valid() && name >= HV_RAX && name <= HV_RFLAGS) {
        if (name < HV_RIP) page->general[name - HV_RAX] = value;
        if (name == HV_RIP) page->rip = value;
        if (name == HV_RFLAGS) page->rflags = value;
        page->dirty |= name < HV_RIP    ? HV_DIRTY_GENERAL
                       : name == HV_RIP ? HV_DIRTY_RIP
                                        : HV_DIRTY_RFLAGS;
        return;
    }
    struct answer answer = set_value(name, (struct hv_value){.low = value});
    if (answer.error != 0) check(false, "register %#x is set: status %#x", name, answer.status);
}

enum {
    RAX = HV_RAX,
    RCX,
    RDX,
    RBX,
    RSP,
};
enum { FLAGS_FIXED = 2, FLAG_TRAP = 1 << 8 };

// --- A guest --------------------------------------------------------------------------------------

enum {
    MEMORY_SIZE = 2 << 20,
    TABLES = 0x1000,
    GDT = 0x4000,
    IDT = 0x5000,
    STACK = 0x7000,
    CODE = 0x8000,
    DATA = 0x9000,
    HANDLER = 0xa000,
    READ_ONLY = 0x400000,
    READ_ONLY_SIZE = 0x10000,
    NOWHERE = 0x800000,
    NOT_PRESENT = 0x40000000,
};
static uint8_t *memory, *constants;
static int caught;

static void on_signal(int number) {
    (void)number;
    caught++;
}

static void make_tables(void) {
    enum { PRESENT = 1, WRITABLE = 2, LEAF = 1 << 7 };
    uint64_t *tables = (uint64_t *)(void *)(memory + TABLES);
    tables[0] = (TABLES + 0x1000) | PRESENT | WRITABLE;
    tables[512] = (TABLES + 0x2000) | PRESENT | WRITABLE;
    // The first GiB as it is.
    for (uint64_t i = 0; i < 512; i++) tables[1024 + i] = i << 21 | PRESENT | WRITABLE | LEAF;
    uint64_t *gdt = (uint64_t *)(void *)(memory + GDT);
    gdt[1] = 0x00209b0000000000;  // 64-bit code
    gdt[2] = 0x00cf93000000ffff;
}

static void put_gate(unsigned vector, uint64_t handler) {
    uint64_t *gate = (uint64_t *)(void *)(memory + IDT + vector * 16);
    gate[0] = (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (handler >> 16 & 0xffff) << 48;
    gate[1] = handler >> 32;
}

static void start(const void *code, size_t size) {
    memset(memory + CODE, 0x90, 256);
    memcpy(memory + CODE, code, size);
    set(HV_RIP, CODE);
    set(RSP, STACK);
    set(HV_RFLAGS, FLAGS_FIXED);
}
#define START(...) \
    start((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static int run(void) {
    memset(&message, 0xee, sizeof message);
    return request(vp, MSHV_RUN_VP, &message);
}

static bool run_to(uint32_t type, const char *what) {
    int error = run();
    if (error == 0 && message.type == type) return check(true, "%s", what);
    check(false, "%s: error %d, message %#x at %#" PRIx64, what, error, error ? 0 : message.type,
          error ? 0 : message.header.rip);
    return false;
}

static uint8_t instruction_length(void) { return message.header.length_and_cr8 & 15; }
static void advance(void) { set(HV_RIP, message.header.rip + instruction_length()); }

// --- Checks: the device and partitions -------------------------------------------------------------

static void check_creation(void) {
    struct mshv_create_partition_v2 arguments = {.flags = 1ull << 63};
    check_same((uint64_t)request(device, MSHV_CREATE_PARTITION, &arguments), EINVAL,
               "a partition with an unknown flag is refused");
    arguments = (struct mshv_create_partition_v2){.isolation = 1000};
    check_same((uint64_t)request(device, MSHV_CREATE_PARTITION, &arguments), EINVAL,
               "a partition with an unknown isolation is refused");
    check_same((uint64_t)request(device, MSHV_CREATE_PARTITION, NULL), EFAULT,
               "a partition without arguments is refused");
    arguments = (struct mshv_create_partition_v2){.flags = MSHV_PARTITION_V2, .feature_banks = 3};
    check_same((uint64_t)request(device, MSHV_CREATE_PARTITION, &arguments), EINVAL,
               "three feature banks are refused");
    arguments.feature_banks = MSHV_FEATURE_BANKS;
    int error = 0, fd = ioctl(device, MSHV_CREATE_PARTITION, &arguments);
    if (fd < 0) {
        error = errno;
    } else {
        close(fd);
    }
    check(kernel == OLD_KERNEL   ? error == EINVAL
          : kernel == NEW_KERNEL ? error == 0
                                 : error == 0 || error == EINVAL,
          "the longer arguments are %s", error ? "refused (an old kernel)" : "taken (a new kernel)");
    check_same((uint64_t)request(device, MSHV_ROOT_HVCALL, &arguments), ENOTTY,
               "the device knows no hypercalls");

    arguments = (struct mshv_create_partition_v2){0};
    partition = ioctl(device, MSHV_CREATE_PARTITION, &arguments);
    if (!check(partition >= 0, "a partition is created")) exit(1);
    check(fcntl(partition, F_GETFD) & FD_CLOEXEC, "its descriptor is closed on exec");
}

static void check_initialization(void) {
    uint64_t value = 1;
    check_same(set_property(partition, 0x00012345, 0).status, HV_UNKNOWN_PROPERTY,
               "an unknown property has status 9");
    check_same((uint64_t)set_property(partition, HV_PROPERTY_SYNTHETIC_FEATURES, 0).error, 0,
               "the synthetic features are set before INITIALIZE");
    check(get_property(partition, HV_PROPERTY_SYNTHETIC_FEATURES, &value).error == 0 && value == 0,
          "they are read back");
    uint32_t index = 0;
    int early = ioctl(partition, MSHV_CREATE_VP, &index);
    check(early < 0, "there is no VP before INITIALIZE");
    check_same((uint64_t)request(partition, MSHV_INITIALIZE_PARTITION, NULL), 0, "it is initialized");
    check_same((uint64_t)request(partition, MSHV_INITIALIZE_PARTITION, NULL), 0,
               "a second INITIALIZE does nothing");
    struct answer late = set_property(partition, HV_PROPERTY_SYNTHETIC_FEATURES, 0);
    check(late.error != 0 && late.status != 0,
          "the synthetic features are not set after INITIALIZE (status %#x)", late.status);
    check_same((uint64_t)request(partition, MSHV_RUN_VP, &message), ENOTTY,
               "a partition cannot be run");
}

static void check_vp(void) {
    uint32_t index = MSHV_MAX_VPS;
    check_same((uint64_t)request(partition, MSHV_CREATE_VP, &index), EINVAL, "VP 256 is refused");
    index = 0;
    vp = ioctl(partition, MSHV_CREATE_VP, &index);
    if (!check(vp >= 0, "VP 0 is created")) exit(1);
    check(fcntl(vp, F_GETFD) & FD_CLOEXEC, "its descriptor is closed on exec");
    check_same((uint64_t)request(partition, MSHV_CREATE_VP, &index), EEXIST, "VP 0 exists already");
    struct answer answer = set_property(vp, HV_PROPERTY_PAGE_TRACKING, 0);
    check(answer.error == EINVAL && answer.status == 0, "properties are not set through a VP");
}

static void check_moved(void) {
    enum { PARTITION_NUMBER = 100, VP_NUMBER = 101 };
    int high = fcntl(partition, F_DUPFD_CLOEXEC, 200);
    bool moved = high >= 200 && dup3(high, PARTITION_NUMBER, O_CLOEXEC) == PARTITION_NUMBER
                 && dup3(vp, VP_NUMBER, O_CLOEXEC) == VP_NUMBER;
    close(partition);
    close(high);
    close(vp);
    partition = PARTITION_NUMBER;
    vp = VP_NUMBER;
    check_same(moved ? (uint64_t)request(partition, MSHV_INITIALIZE_PARTITION, NULL) : 1, 0,
               "descriptors can be moved");
}

static void check_pages(void) {
    void *place = mmap(NULL, MSHV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vp, MSHV_MMAP_REGISTERS);
    int error = place == MAP_FAILED ? errno : 0;
    check(error == 0 || error == ENODEV, "the register page is %s",
          error ? "not there (hypercalls only)" : "mapped");
    if (error != 0) use_page = false;
    page = error ? NULL : place;
    if (page) check_same(page->valid, 0, "it is not valid before the first run");
    place = mmap(NULL, MSHV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vp, MSHV_MMAP_MESSAGE);
    if (!check(place != MAP_FAILED, "the message page is mapped")) exit(1);
    message_page = place;
    place = mmap(NULL, MSHV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vp, MSHV_MMAP_GHCB);
    check(place == MAP_FAILED && errno == ENODEV, "there is no GHCB");
    place = mmap(NULL, MSHV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vp, 3 * MSHV_PAGE_SIZE);
    check(place == MAP_FAILED && errno == EINVAL, "there is no fourth page");
}

// --- Checks: memory -------------------------------------------------------------------------------

static int map_with(struct mshv_memory_region region) {
    return request(partition, MSHV_SET_GUEST_MEMORY, &region);
}

static void check_memory_arguments(void) {
    uint8_t *spare = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct mshv_memory_region good = {
        .size = 0x4000, .first_page = 0x2000, .hva = (uintptr_t)spare, .flags = MSHV_MEMORY_WRITABLE};
    struct mshv_memory_region bad = good;
    bad.size = 0;
    check_same((uint64_t)map_with(bad), EINVAL, "an empty region is refused");
    bad = good, bad.size = 0x4001;
    check_same((uint64_t)map_with(bad), EINVAL, "a part of a page is refused");
    bad = good, bad.hva += 8;
    check_same((uint64_t)map_with(bad), EINVAL, "a host address within a page is refused");
    bad = good, bad.flags = 8;
    check_same((uint64_t)map_with(bad), EINVAL, "an unknown flag is refused");
    bad = good, bad.zero[6] = 1;
    check_same((uint64_t)map_with(bad), EINVAL, "a byte that must be zero is checked");
    bad = good, bad.flags |= MSHV_MEMORY_UNMAP;
    check_same((uint64_t)map_with(bad), EINVAL, "what is not mapped is not unmapped");
    check_same((uint64_t)request(partition, MSHV_SET_GUEST_MEMORY, NULL), EFAULT,
               "a region without arguments is refused");

    check_same((uint64_t)map_with(good), 0, "a region is mapped");
    check_same((uint64_t)map_with(good), EEXIST, "twice is refused");
    bad = good, bad.first_page += 3, bad.hva += 0x8000;
    check_same((uint64_t)map_with(bad), EEXIST, "an overlap of guest pages is refused");
    bad = good, bad.first_page += 0x100, bad.hva += 0x1000;
    int error = map_with(bad);
    check(kernel == OLD_KERNEL   ? error == EEXIST
          : kernel == NEW_KERNEL ? error == 0
                                 : error == 0 || error == EEXIST,
          "an overlap of host pages is %s", error ? "refused (an old kernel)" : "taken (a new kernel)");
    bad.flags = MSHV_MEMORY_UNMAP;
    if (error == 0) check_same((uint64_t)map_with(bad), 0, "it is unmapped");

    bad = good, bad.flags = MSHV_MEMORY_UNMAP, bad.size -= 0x1000;
    check_same((uint64_t)map_with(bad), EINVAL, "unmapping a part is refused");
    bad = good, bad.flags = MSHV_MEMORY_UNMAP, bad.first_page += 1;
    check_same((uint64_t)map_with(bad), EINVAL, "unmapping from the middle is refused");
    bad = good, bad.flags = MSHV_MEMORY_UNMAP, bad.hva += 0x1000;
    check_same((uint64_t)map_with(bad), EINVAL, "unmapping with another host address is refused");
    bad = good, bad.flags = MSHV_MEMORY_UNMAP;
    check_same((uint64_t)map_with(bad), 0, "the same region is unmapped");
    check_same((uint64_t)map_with(good), 0, "and mapped again");
    check_same((uint64_t)map_with(bad), 0, "and unmapped again");

    mprotect(spare + 0x3000, 0x1000, PROT_READ);
    check_same((uint64_t)map_with(good), EFAULT, "host memory that is not writable is refused");
    munmap(spare, 0x10000);
    check_same((uint64_t)map_with(good), EINVAL, "host memory that is not there is refused");
}

static void map_guest(void) {
    memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    constants = mmap(NULL, READ_ONLY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(constants, 0xc3, READ_ONLY_SIZE);
    check_same((uint64_t)map(0, memory, MEMORY_SIZE, MSHV_MEMORY_WRITABLE | MSHV_MEMORY_EXECUTABLE), 0,
               "guest memory is mapped");
    check_same((uint64_t)map(READ_ONLY, constants, READ_ONLY_SIZE, MSHV_MEMORY_EXECUTABLE), 0,
               "memory without the writable flag is mapped");
    make_tables();
}

static void check_empty(void) {
    struct mshv_create_partition arguments = {0};
    uint32_t index = 0;
    int other = ioctl(device, MSHV_CREATE_PARTITION, &arguments);
    request(other, MSHV_INITIALIZE_PARTITION, NULL);
    int kept = vp;
    vp = ioctl(other, MSHV_CREATE_VP, &index);
    if (run_to((uint32_t)HV_MESSAGE_UNMAPPED_GPA, "without memory the first fetch is a message")) {
        check_same(message.header.access, HV_ACCESS_EXECUTE, "it says execute");
        note("its address", message.memory.gpa);
    }
    close(vp);
    close(other);
    vp = kept;
}

// --- Checks: hypercalls ---------------------------------------------------------------------------

static void check_call_arguments(void) {
    uint8_t input[MSHV_PAGE_SIZE] = {0};
    struct hv_value values[2];
    const struct mshv_hypercall good = {.code = HVCALL_GET_VP_REGISTERS,
                                        .reps = 1,
                                        .input_size = 20,
                                        .output_size = 16,
                                        .input = (uintptr_t)input,
                                        .output = (uintptr_t)values};
    const uint32_t rip = HV_RIP;
    memcpy(input + 16, &rip, 4);
    struct mshv_hypercall bad = good;
    while (request(vp, MSHV_ROOT_HVCALL, &bad) == EAGAIN) bad = good;
    check(bad.status == 0 && bad.reps == 1, "a register is read through the VP");
    bad = good;
    while (request(partition, MSHV_ROOT_HVCALL, &bad) == EAGAIN) bad = good;
    check(bad.status == 0 && bad.reps == 1, "and through the partition");
    bad = good, bad.status = 1;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "a status that is not 0 is refused");
    bad = good, bad.zero[0] = 1;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "zero bytes are checked");
    bad = good, bad.input_size = 7;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "7 bytes of input are refused");
    bad = good, bad.input_size = 4097;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "4097 bytes of input are refused");
    bad = good, bad.input = 0;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "no input is refused");
    bad = good, bad.input = 16;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EFAULT, "input at no address is refused");
    bad = good, bad.output_size = 4097;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "4097 bytes of output are refused");
    bad = good, bad.output_size = 0;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "output without a size is refused");
    bad = good, bad.code = 0x40;
    check_same((uint64_t)request(vp, MSHV_ROOT_HVCALL, &bad), EINVAL, "other hypercalls are refused");
    check_same((uint64_t)request(vp, MSHV_TRANSLATE_GVA, input), ENOTTY,
               "the old translate request is not known");

    struct {
        struct hv_vp_header header;
        struct hv_register entries[2];
    } set_input = {.entries = {{.name = HV_RAX, .value = {1, 0}}, {.name = 0x99999}}};
    struct answer answer =
        call(vp, HVCALL_SET_VP_REGISTERS, 2, &set_input, sizeof set_input, NULL, 0);
    check(answer.error != 0 && answer.status != 0 && answer.reps == 1,
          "an unknown name ends a call after the one before it (status %#x, %u done)", answer.status,
          answer.reps);
    set_input.header.vp = 5;
    answer = call(partition, HVCALL_SET_VP_REGISTERS, 1, &set_input, 48, NULL, 0);
    check_same(answer.status, HV_INVALID_VP_INDEX, "a VP that is not there has status 0xe");
}

static void put_segment(struct hv_register *entry, uint32_t name, struct hv_segment segment) {
    entry->name = name;
    memcpy(&entry->value, &segment, sizeof segment);
}

static void put_table(struct hv_register *entry, uint32_t name, uint64_t base, uint16_t limit) {
    struct hv_table table = {.limit = limit, .base = base};
    entry->name = name;
    memcpy(&entry->value, &table, sizeof table);
}

static void check_special(void) {
    static const uint32_t data_segments[] = {HV_DS, HV_ES, HV_FS, HV_GS, HV_SS};
    struct {
        struct hv_vp_header header;
        struct hv_register entries[17];
    } input = {0};
    struct hv_register *entry = input.entries;
    put_segment(entry++, HV_CS, (struct hv_segment){.selector = 8, .attributes = 0x209b});
    for (size_t i = 0; i < 5; i++) put_segment(entry++, data_segments[i], (struct hv_segment){0});
    put_segment(entry++, HV_TR, (struct hv_segment){.limit = 0xffff, .attributes = 0x8b});
    put_segment(entry++, HV_LDTR, (struct hv_segment){0});
    put_table(entry++, HV_GDTR, GDT, 0x17);
    put_table(entry++, HV_IDTR, IDT, 0xfff);
    const struct {
        uint32_t name;
        uint64_t value;
    } controls[] = {
        {HV_INTERMEDIATE_CR0, 0x80050033}, {HV_CR2, 0},    {HV_INTERMEDIATE_CR3, TABLES},
        {HV_INTERMEDIATE_CR4, 0x620},      {HV_CR8, 0},    {HV_EFER, 0xd01},
        {HV_APIC_BASE, 0},
    };
    for (size_t i = 0; i < 7; i++) {
        entry->name = controls[i].name;
        entry++->value.low = controls[i].value;
    }
    struct answer answer = call(vp, HVCALL_SET_VP_REGISTERS, 17, &input, sizeof input, NULL, 0);
    check(answer.error == 0 && answer.reps == 17, "17 special registers are set in one call (%#x, %u)",
          answer.status, answer.reps);
    check_same(get(HV_CR3), TABLES, "CR3 is read back");
    check_same(get(HV_EFER), 0xd01, "EFER is read back");
    struct hv_value value = {0};
    get_value(HV_CS, &value);
    struct hv_segment cs;
    memcpy(&cs, &value, sizeof cs);
    check(cs.selector == 8 && cs.attributes == 0x209b, "CS is read back (attributes %#x)", cs.attributes);
    get_value(HV_TR, &value);
    memcpy(&cs, &value, sizeof cs);
    check(cs.limit == 0xffff && cs.attributes == 0x8b, "TR is read back (attributes %#x)", cs.attributes);
}

// --- Checks: running ------------------------------------------------------------------------------

static void check_ports(void) {
    set(RDX, 101);
    set(RAX, 0x1122334455667788);
    START(0xee);  // out dx, al
    if (!run_to((uint32_t)HV_MESSAGE_IO_PORT, "OUT to DX is a message")) return;
    check(message.size == sizeof(struct hv_io_message), "it has %u bytes of payload", message.size);
    check(message.io.port == 101 && (message.io.info & 7) == 1, "port and size are right");
    check(message.header.access == HV_ACCESS_WRITE, "it says write");
    check_same(message.io.rax, 0x1122334455667788, "RAX is in it");
    check_same(message.header.rip, CODE, "the guest stands at the instruction");
    check_same(instruction_length(), 1, "which is one byte long");
    check_same(message.header.cs.selector, 8, "CS is in it");
    check_same(message.header.state & 0x17, 0x14, "protected, long mode, ring 0");
    check(memcmp(&message, message_page, sizeof message) == 0, "the message page has the same");
    if (page) {
        check(page->valid == 1 && page->dirty == 0, "the register page is valid");
        check(page->rip == CODE && page->general[0] == 0x1122334455667788, "and up to date");
    }
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "without moving RIP it comes again");

    set(RAX, 0xabcdef);
    START(0xe7, 108, 0xf4);  // out 108, eax; hlt
    if (!run_to((uint32_t)HV_MESSAGE_IO_PORT, "OUT to an immediate port is a message")) return;
    check(message.io.port == 108 && (message.io.info & 7) == 4, "port and size are right");
    check_same(instruction_length(), 2, "which is two bytes long");
    advance();
    run_to((uint32_t)HV_MESSAGE_HALT, "behind it the guest halts");

    START(0x66, 0xef, 0xf4);  // out dx, ax; hlt
    set(RDX, 0x3f8);
    if (!run_to((uint32_t)HV_MESSAGE_IO_PORT, "OUT of 16 bits is a message")) return;
    check(message.io.port == 0x3f8 && (message.io.info & 7) == 2 && instruction_length() == 2,
          "port, size and length are right");

    START(0xec, 0x88, 0xc3, 0xf4);  // in al, dx; mov bl, al; hlt
    set(RDX, 0x60);
    set(RAX, 0x5500);
    set(RBX, 0);
    if (!run_to((uint32_t)HV_MESSAGE_IO_PORT, "IN is a message")) return;
    check(message.io.port == 0x60 && message.header.access == HV_ACCESS_READ, "it says read");
    check(message.header.rip == CODE && message.io.rax == 0x5500, "nothing has happened yet");
    advance();
    set(RAX, 0x5542);
    run_to((uint32_t)HV_MESSAGE_HALT, "behind it the guest halts");
    check(get(RAX) == 0x5542 && (get(RBX) & 0xff) == 0x42, "with the value it was given");
}

static void check_mixed(void) {
    if (!page_is_valid()) return;
    START(0x48, 0x89, 0xd8, 0xe7, 99, 0xf4);  // mov rax, rbx; out 99, eax
    set(RBX, 7);
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "registers are set through the page");
    check_same(message.io.rax, 7, "RBX was");
    set_value(HV_RIP, (struct hv_value){.low = CODE});
    page->general[3] = 8;
    page->dirty = HV_DIRTY_GENERAL;
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "different ones through page and hypercall");
    check_same(message.io.rax, 8, "both were");
    struct hv_segment fs = {.base = 0x123000, .limit = 0xffffffff, .selector = 16, .attributes = 0xc093};
    memcpy((void *)&page->segments[4], &fs, sizeof fs);
    page->dirty = HV_DIRTY_SEGMENTS;
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "segments through the page");
    struct hv_value value = {0};
    get_value(HV_FS, &value);
    check_same(value.low, 0x123000, "FS was");
}

static void check_faults(void) {
    START(0x48, 0x8b, 0x01, 0xf4);  // mov rax, [rcx]; hlt
    set(RCX, NOWHERE + 0x238);
    set(RAX, 77);
    if (run_to((uint32_t)HV_MESSAGE_UNMAPPED_GPA, "a read of unmapped memory is a message")) {
        check_same(message.memory.gpa, NOWHERE + 0x238, "its address is right");
        check_same(message.header.access, HV_ACCESS_READ, "it says read");
        check(message.header.rip == CODE && get(RAX) == 77, "the guest stands at the instruction");
    }
    START(0x48, 0x89, 0x01, 0xf4);  // mov [rcx], rax; hlt
    set(RCX, NOWHERE + 0x10);
    if (run_to((uint32_t)HV_MESSAGE_UNMAPPED_GPA, "a write to unmapped memory is a message")) {
        check_same(message.memory.gpa, NOWHERE + 0x10, "its address is right");
        check_same(message.header.access, HV_ACCESS_WRITE, "it says write");
        note("RIP after it, from the instruction on", message.header.rip - CODE);
    }
    START(0x48, 0x89, 0x01, 0xf4);
    set(RCX, READ_ONLY + 8);
    if (run_to((uint32_t)HV_MESSAGE_GPA_INTERCEPT, "a write to read-only memory is denied")) {
        check_same(message.memory.gpa, READ_ONLY + 8, "its address is right");
        check_same(message.header.access, HV_ACCESS_WRITE, "it says write");
        check_same(constants[8], 0xc3, "and nothing is written");
    }
    START(0x48, 0x8b, 0x01, 0xf4);
    set(RCX, READ_ONLY + 8);
    run_to((uint32_t)HV_MESSAGE_HALT, "a read of read-only memory passes");
    check_same(get(RAX), 0xc3c3c3c3c3c3c3c3, "with its value");
    START(0xff, 0xe1);  // jmp rcx
    set(RCX, NOWHERE + 0x40);
    if (run_to((uint32_t)HV_MESSAGE_UNMAPPED_GPA, "a jump into unmapped memory is a message")) {
        check_same(message.header.access, HV_ACCESS_EXECUTE, "it says execute");
        check_same(message.memory.gpa, NOWHERE + 0x40, "its address is right");
        check_same(message.header.rip, NOWHERE + 0x40, "and so is RIP");
    }
}

// --- Checks: debugging ----------------------------------------------------------------------------

enum { DR6_RESET = (int)0xffff0ff0, DR6_STEP = 1 << 14 };

static void check_debugging(void) {
    check_same((uint64_t)intercept(HV_INTERCEPT_EXCEPTION, 1, HV_ACCESS_EXECUTE_MASK).error, 0,
               "#DB is intercepted");
    check_same((uint64_t)intercept(HV_INTERCEPT_EXCEPTION, 3, HV_ACCESS_EXECUTE_MASK).error, 0,
               "#BP is intercepted");
    check(intercept(99, 0, HV_ACCESS_EXECUTE_MASK).status != 0, "an unknown intercept is refused");
    set(HV_DR6, (uint32_t)DR6_RESET);

    START(0x90, 0x48, 0xff, 0xc0, 0x90, 0xe7, 99, 0xf4);  // nop; inc rax; nop; out 99, eax; hlt
    set(RAX, 5);
    set(HV_RFLAGS, FLAGS_FIXED | FLAG_TRAP);
    if (run_to((uint32_t)HV_MESSAGE_EXCEPTION, "TF steps")) {
        check_same(message.exception.vector, 1, "with #DB");
        check_same(message.size, sizeof(struct hv_exception_message), "whose payload has 240 bytes");
        check_same(message.header.rip, CODE + 1, "behind the first instruction");
        check(message.header.rflags & FLAG_TRAP && get(HV_RFLAGS) & FLAG_TRAP, "TF is still set");
        check(get(HV_DR6) & DR6_STEP, "DR6 says step");
    }
    run_to((uint32_t)HV_MESSAGE_EXCEPTION, "it steps on");
    check(message.header.rip == CODE + 4 && message.exception.general[0] == 6,
          "over the second instruction");
    set(RAX, 60);
    run_to((uint32_t)HV_MESSAGE_EXCEPTION, "and on with a changed register");
    check_same(message.header.rip, CODE + 5, "over the third instruction");
    if (run_to((uint32_t)HV_MESSAGE_IO_PORT, "a step over OUT is its message")) {
        check(message.header.rip == CODE + 5 && message.io.rax == 60, "at the instruction");
        advance();
    }
    run_to((uint32_t)HV_MESSAGE_HALT, "a step over HLT halts");

    START(0x90, 0x90, 0x90, 0x90, 0xf4);
    set(HV_RFLAGS, FLAGS_FIXED | FLAG_TRAP);
    run_to((uint32_t)HV_MESSAGE_EXCEPTION, "a step after RIP was changed");
    check_same(message.header.rip, CODE + 1, "starts where RIP is");
    set(HV_RIP, CODE + 3);
    run_to((uint32_t)HV_MESSAGE_EXCEPTION, "again");
    check_same(message.header.rip, CODE + 4, "starts where RIP is");

    set(HV_DR6, (uint32_t)DR6_RESET);
    set(HV_DR0, CODE + 2);
    set(HV_DR7, 1);
    START(0x90, 0x90, 0x90, 0x90, 0xf4);
    if (run_to((uint32_t)HV_MESSAGE_EXCEPTION, "DR0 breaks")) {
        check(message.exception.vector == 1 && message.header.rip == CODE + 2, "at its address");
        check_same(get(HV_DR6) & 0x400f, 1, "DR6 says DR0");
    }
    set(HV_DR7, 0);
    set(HV_RFLAGS, FLAGS_FIXED | FLAG_TRAP);
    run_to((uint32_t)HV_MESSAGE_EXCEPTION, "without it the step goes on");
    check_same(get(HV_DR6) & 0x400f, 0x4001, "DR6 keeps what nobody clears");
    set(HV_DR6, (uint32_t)DR6_RESET);
    check_same(get(HV_DR6), (uint32_t)DR6_RESET, "and is cleared by writing it");
    check(set_value(HV_DR7, (struct hv_value){.low = 1ull << 32}).status != 0,
          "DR7 has no upper half");

    START(0x90, 0xcc, 0x90, 0xf4);
    if (run_to((uint32_t)HV_MESSAGE_EXCEPTION, "int3 breaks")) {
        check(message.exception.vector == 3 && message.header.rip == CODE + 1, "at its address");
        check_same(instruction_length(), 1, "which is one byte long");
    }
}

static void inject(uint16_t vector, bool has_error, uint32_t error, uint64_t parameter) {
    struct hv_value event = {.low = 1 | (uint64_t)has_error << 8 | (uint64_t)vector << 16
                                    | (uint64_t)error << 32,
                             .high = parameter};
    struct answer answer = set_value(HV_PENDING_EVENT_0, event);
    if (answer.error != 0) check(false, "exception %u is made pending: %#x", vector, answer.status);
}

static void check_injection(void) {
    // handler: pop rbx (error code or RIP); mov eax, 13; out 97, eax; hlt
    static const uint8_t handler[] = {0x5b, 0xb8, 13, 0, 0, 0, 0xe7, 97, 0xf4};
    memcpy(memory + HANDLER, handler, sizeof handler);
    for (unsigned vector = 0; vector < 32; vector++) put_gate(vector, HANDLER);

    START(0x90, 0xf4);
    inject(13, true, 0x1234, 0);
    if (run_to((uint32_t)HV_MESSAGE_IO_PORT, "an injected #GP reaches the guest's handler")) {
        check_same(message.io.port, 97, "which says so");
        check_same(get(RBX), 0x1234, "with its error code");
    }
    START(0x90, 0xf4);
    inject(14, true, 2, 0x5678);
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "an injected #PF reaches it");
    check_same(get(HV_CR2), 0x5678, "with its address in CR2");
    START(0x90, 0xf4);
    inject(1, false, 0, DR6_STEP);
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "a #DB that was given back reaches it, not us again");
    check(get(HV_DR6) & DR6_STEP, "with its DR6");
    set(HV_DR6, (uint32_t)DR6_RESET);

    START(0x90, 0xcc, 0xf4);
    if (run_to((uint32_t)HV_MESSAGE_EXCEPTION, "an int3 of the guest's own")) {
        advance();
        inject(3, false, 0, 0);
        run_to((uint32_t)HV_MESSAGE_IO_PORT, "is given back");
        check_same(get(RBX), CODE + 2, "with the address behind it");
    }
    intercept(HV_INTERCEPT_EXCEPTION, 3, 0);
    START(0x90, 0xcc, 0xf4);
    int error = run();
    if (error == EINTR) error = run();  // may happen at any time, and means to run again
    check(error == 0 && message.type == (uint32_t)HV_MESSAGE_IO_PORT && get(RBX) == CODE + 2,
          "an int3 that nobody intercepts is the guest's");

    START(0x0f, 0x0b);  // ud2
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "a #UD is the guest's");
    check_same(get(RBX), CODE, "with the address of the instruction");
    START(0x48, 0x8b, 0x01);  // mov rax, [rcx]
    set(RCX, NOT_PRESENT + 8);
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "a #PF is the guest's");
    check(get(RBX) == 0 && get(HV_CR2) == NOT_PRESENT + 8, "with its error code and its address");

    memset(memory + IDT, 0, 4096);
    START(0x0f, 0x0b);
    run_to((uint32_t)HV_MESSAGE_UNRECOVERABLE, "without a handler it is a triple fault");
    START(0x90, 0xf4);
    run_to((uint32_t)HV_MESSAGE_HALT, "after which the guest can be set going again");
    START(0x90, 0xf4);
    inject(13, true, 0, 0);
    run_to((uint32_t)HV_MESSAGE_UNRECOVERABLE, "an injected exception without a handler is a triple fault");
    check(get(HV_RIP) - CODE < 16, "registers can be read after it");
    intercept(HV_INTERCEPT_EXCEPTION, 1, 0);
}

// --- Checks: state --------------------------------------------------------------------------------

static void check_registers(void) {
    for (uint32_t i = 0; i < 16; i++) {
        set_value(HV_RAX + i, (struct hv_value){.low = 0x1111111111111111u * i});
    }
    struct {
        struct hv_vp_header header;
        uint32_t names[18];
    } input = {0};
    struct hv_value values[18];
    for (uint32_t i = 0; i < 18; i++) input.names[i] = HV_RAX + i;
    struct answer answer = call(vp, HVCALL_GET_VP_REGISTERS, 18, &input, sizeof input, values, sizeof values);
    check(answer.error == 0 && answer.reps == 18, "18 registers are read in one call");
    bool is_same = true;
    for (uint32_t i = 0; i < 16; i++) is_same = is_same && values[i].low == 0x1111111111111111u * i;
    check(is_same, "each has its own value");

    struct hv_value wide = {.low = 0x0123456789abcdef, .high = 0xfedcba9876543210}, found = {0};
    check_same((uint64_t)set_value(HV_XMM0 + 15, wide).error, 0, "XMM15 is set");
    get_value(HV_XMM0 + 15, &found);
    check(memcmp(&wide, &found, 16) == 0, "and read back");
    struct hv_fp_control control = {.control = 0x27f};
    memcpy(&wide, &control, sizeof wide);
    set_value(HV_FP_CONTROL, wide);
    get_value(HV_FP_CONTROL, &found);
    check_same(found.low & 0xffff, 0x27f, "the x87 control word too");
    struct hv_xmm_control xmm = {.mxcsr = 0x1f00};
    memcpy(&wide, &xmm, sizeof wide);
    set_value(HV_XMM_CONTROL, wide);
    get_value(HV_XMM_CONTROL, &found);
    check_same(found.high & 0xffffffff, 0x1f00, "MXCSR too");
    check_same(get(HV_XCR0), 1, "XCR0 is 1 after a reset");
    check(set_value(HV_XCR0, (struct hv_value){.low = 0}).status != 0, "XCR0 cannot be 0");
    set_value(HV_KERNEL_GS_BASE, (struct hv_value){.low = 0x4000});
    check_same(get(HV_KERNEL_GS_BASE), 0x4000, "an MSR is set and read");
    set_value(HV_LSTAR, (struct hv_value){.low = 0x5000});
    check_same(get(HV_LSTAR), 0x5000, "and another");
}

static int vp_state(unsigned long code, struct mshv_vp_state state) { return request(vp, code, &state); }

static void check_xsave(void) {
    enum { AREA_MXCSR = 24, AREA_PRESENT = 512, AREA_COMPACTED = 520, SIZE = 2 * MSHV_PAGE_SIZE };
    uint8_t *area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct mshv_vp_state state = {.type = MSHV_STATE_XSAVE, .size = SIZE, .buffer = (uintptr_t)area};
    const struct mshv_vp_state good = state;
    check_same((uint64_t)request(vp, MSHV_GET_VP_STATE, &state), 0, "the XSAVE state is read");
    check(state.size >= 576 && state.size <= SIZE, "it has %u bytes", state.size);
    uint64_t form = *(uint64_t *)(void *)(area + AREA_COMPACTED);
    check(form >> 63 == 1 && (form & 3) == 3, "it is compacted (XCOMP_BV %#" PRIx64 ")", form);
    check_same(*(uint16_t *)(void *)area, 0x27f, "it has the x87 control word that was set");
    check_same(area[160 + 15 * 16], 0xef, "and XMM15");

    memset(area, 0, SIZE);
    *(uint16_t *)(void *)area = 0x37f;
    *(uint32_t *)(void *)(area + AREA_MXCSR) = 0x1f80;
    *(uint64_t *)(void *)(area + AREA_PRESENT) = 3;
    check(vp_state(MSHV_SET_VP_STATE, good) != 0, "it is not taken in the other form");
    *(uint64_t *)(void *)(area + AREA_COMPACTED) = form;
    check_same((uint64_t)vp_state(MSHV_SET_VP_STATE, good), 0, "it is reset");
    struct hv_value value = {1, 1};
    get_value(HV_XMM0 + 15, &value);
    check(value.low == 0 && value.high == 0, "XMM15 is zero");
    get_value(HV_XMM_CONTROL, &value);
    check_same(value.high & 0xffffffff, 0x1f80, "MXCSR is as after a reset");

    state = good, state.type = 77;
    check_same((uint64_t)vp_state(MSHV_GET_VP_STATE, state), EINVAL, "an unknown type is refused");
    state = good, state.zero[1] = 1;
    check_same((uint64_t)vp_state(MSHV_GET_VP_STATE, state), EINVAL, "zero bytes are checked");
    state = good, state.size = 0;
    check_same((uint64_t)vp_state(MSHV_GET_VP_STATE, state), EINVAL, "an empty buffer is refused");
    state = good, state.size = 1000;
    check_same((uint64_t)vp_state(MSHV_GET_VP_STATE, state), EINVAL, "a part of a page is refused");
    state = good, state.buffer += 64;
    check_same((uint64_t)vp_state(MSHV_GET_VP_STATE, state), EINVAL, "a buffer within a page is refused");
    mprotect(area, SIZE, PROT_READ);
    check_same((uint64_t)vp_state(MSHV_GET_VP_STATE, good), EFAULT, "a read-only buffer is refused");
    munmap(area, SIZE);
}

static uint64_t translation(uint64_t gva, uint64_t flags, uint64_t *gpa) {
    struct hv_translate_input input = {.flags = flags, .page = gva / MSHV_PAGE_SIZE};
    struct hv_translate_output output = {.result = 99};
    call(vp, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, 0, &input, sizeof input, &output, sizeof output);
    *gpa = output.page * MSHV_PAGE_SIZE;
    return output.result & 0xffffffff;
}

static void check_translation(void) {
    uint64_t gpa = 0;
    check_same(translation(CODE, HV_TRANSLATE_READ | HV_TRANSLATE_EXECUTE, &gpa), HV_TRANSLATED,
               "an address is translated");
    check_same(gpa, CODE, "to the right page");
    check_same(translation(NOT_PRESENT, HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_NOT_PRESENT,
               "one without a table entry is not");
    check_same(translation(NOWHERE, HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_GPA_UNMAPPED,
               "nor one whose page is not mapped");
    check_same(translation(READ_ONLY, HV_TRANSLATE_WRITE, &gpa), HV_TRANSLATE_NO_WRITE,
               "nor one that shall be written and may not");
}

static void check_tracking(void) {
    uint64_t bitmap[8] = {0};
    struct mshv_access_bitmap arguments = {
        .type = MSHV_DIRTY, .operation = MSHV_BITS_CLEAR, .pages = 512, .bitmap = (uintptr_t)bitmap};
    struct mshv_access_bitmap bad = arguments;
    bad.type = 9;
    check_same((uint64_t)request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &bad), EINVAL,
               "an unknown access is refused");
    bad = arguments, bad.zero[2] = 1;
    check_same((uint64_t)request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &bad), EINVAL,
               "zero bytes are checked");
    check_same((uint64_t)set_property(partition, HV_PROPERTY_PAGE_TRACKING, 1).error, 0,
               "page tracking is turned on");
    request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &arguments);
    START(0x48, 0x89, 0x01, 0xf4);  // mov [rcx], rax; hlt
    set(RCX, DATA);
    run_to((uint32_t)HV_MESSAGE_HALT, "a page is written");
    check_same((uint64_t)request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &arguments), 0,
               "written pages are read and cleared");
    check(bitmap[0] >> (DATA / MSHV_PAGE_SIZE) & 1, "the page is among them");
    check_same((uint64_t)request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &arguments), 0, "again");
    check(!(bitmap[0] >> (DATA / MSHV_PAGE_SIZE) & 1), "it is no longer");
    check(set_property(partition, HV_PROPERTY_PAGE_TRACKING, 0).error != 0,
          "tracking is not turned off while bits are clear");
    arguments.operation = MSHV_BITS_SET;
    request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &arguments);
    bad = arguments, bad.first_page = READ_ONLY / MSHV_PAGE_SIZE, bad.pages = 16;
    request(partition, MSHV_GET_GPAP_ACCESS_BITMAP, &bad);
    check_same((uint64_t)set_property(partition, HV_PROPERTY_PAGE_TRACKING, 0).error, 0,
               "it is when all are set");
}

static void check_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGALRM, &action, NULL);
    START(0xeb, 0xfe);  // jmp $
    const struct itimerval timer = {.it_value = {.tv_usec = 30000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    check_same((uint64_t)run(), EINTR, "a signal makes RUN_VP return");
    check_same((uint64_t)caught, 1, "and was handled");
    check_same(get(HV_RIP), CODE, "the guest is where it was");
    if (page) check_same(page->valid, 1, "the register page is valid");
    START(0xe7, 99);
    raise(SIGALRM);
    run_to((uint32_t)HV_MESSAGE_IO_PORT, "a signal before RUN_VP is not remembered");
    START(0xe7, 99);
    check_same((uint64_t)request(vp, MSHV_RUN_VP, NULL), EFAULT, "a message needs a place");
}

// Signals at any moment: nothing is lost and nothing comes twice.
static void check_many_signals(void) {
    enum { ROUNDS = 1000 };
    const struct itimerval often = {.it_interval = {.tv_usec = 150}, .it_value = {.tv_usec = 150}};
    const struct itimerval never = {0};
    START(0xff, 0xc0, 0xe7, 99, 0xeb, 0xfa);  // inc eax; out 99, eax; jmp to the first
    set(RAX, 0);
    uint64_t wanted = 0;
    unsigned interrupted = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    while (wanted < ROUNDS) {
        int error = run();
        if (error == EINTR) {
            interrupted++;
            continue;
        }
        if (error != 0 || message.type != (uint32_t)HV_MESSAGE_IO_PORT || message.io.rax != wanted + 1) break;
        wanted++;
        advance();
    }
    setitimer(ITIMER_REAL, &never, NULL);
    check(wanted == ROUNDS, "%u OUTs, each once, among %u interruptions", (unsigned)wanted, interrupted);
}

static void check_invalid_registers(void) {
    START(0xf4);
    struct answer answer = set_value(HV_EFER, (struct hv_value){.low = 1ull << 40});
    if (answer.error != 0) {
        check(true, "EFER with an unknown bit is refused at once (status %#x)", answer.status);
    } else {
        int error = run();
        check(error == 0 && message.type == (uint32_t)HV_MESSAGE_INVALID_REGISTER,
              "EFER with an unknown bit is refused at the run (error %d, message %#x)", error,
              message.type);
    }
    set_value(HV_EFER, (struct hv_value){.low = 0xd01});
}

// The other names: what a host has differs, so this is a list to look at.
static void show_names(void) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 4},           {0x10002, 0x10007}, {0x20000, 0x20011}, {0x30000, 0x30019},
                  {0x40000, 0x40005}, {0x41000, 0x41004}, {0x50000, 0x50005}, {0x60000, 0x60007},
                  {0x70000, 0x70001}, {0x80000, 0x8000b}, {0x8000d, 0x8001f}, {0x80040, 0x8004f},
                  {0x80070, 0x8009a}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (uint32_t name = ranges[i].first; name <= ranges[i].last; name++) {
            struct hv_value value = {0};
            struct answer answer = get_value(name, &value);
            if (answer.error != 0) {
                printf("%#x: status %#x\n", name, answer.status);
            } else {
                printf("%#x: %#" PRIx64 " %#" PRIx64 "\n", name, value.low, value.high);
            }
        }
    }
}

static void check_ends(void) {
    close(vp);
    uint32_t index = 0;
    check_same((uint64_t)request(partition, MSHV_CREATE_VP, &index), EEXIST,
               "a closed VP still has its number");
    close(partition);
    check_same((uint64_t)request(partition, MSHV_INITIALIZE_PARTITION, NULL), EBADF,
               "a closed partition is gone");
    struct mshv_create_partition arguments = {0};
    int again = ioctl(device, MSHV_CREATE_PARTITION, &arguments);
    check(again >= 0, "the device gives another one");
    close(again);
}

// --- Confinement ----------------------------------------------------------------------------------

static struct sock_filter filter[128];
static unsigned short filter_length;

static void put(uint16_t code, uint32_t value, uint8_t yes, uint8_t no) {
    filter[filter_length++] = (struct sock_filter){code, yes, no, value};
}

static void allow(uint32_t value) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

// What the monitor itself needs, and of requests only those of a running VP: anything else kills.
static void confine(const char *codes) {
    static const int calls[] = {SYS_write,        SYS_exit_group,     SYS_mmap,         SYS_munmap,
                                SYS_mprotect,     SYS_setitimer,      SYS_rt_sigaction, SYS_rt_sigreturn,
                                SYS_rt_sigprocmask, SYS_gettid,       SYS_getpid,       SYS_tgkill};
    static const uint32_t requests[] = {MSHV_RUN_VP, MSHV_ROOT_HVCALL, MSHV_GET_VP_STATE,
                                        MSHV_SET_VP_STATE, MSHV_SET_GUEST_MEMORY};
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) allow((uint32_t)calls[i]);
    put(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0);
    put(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]), 0, 0);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) allow(requests[i]);
    while (*codes) {
        char *end;
        allow((uint32_t)strtoul(codes, &end, 0));
        codes = *end ? end + 1 : end;
    }
    put(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    const struct sock_fprog program = {filter_length, filter};
    bool done = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
    check(done, "confined: any other request would end this here");
}

// A confined program still may not hand out memory that it cannot write.
static void check_confined_memory(void) {
    void *spare = mmap(NULL, 0x4000, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check_same((uint64_t)map(0x2000000, spare, 0x4000, 0), EFAULT,
               "host memory that is not writable is refused");
    mprotect(spare, 0x4000, PROT_READ | PROT_WRITE);
    check_same((uint64_t)map(0x2000000, spare, 0x4000, 0), 0, "it is mapped once it is");
    check_same((uint64_t)map(0x2000000, spare, 0x4000, MSHV_MEMORY_UNMAP), 0, "and unmapped");
    munmap(spare, 0x4000);
}

// --- The whole ------------------------------------------------------------------------------------

int main(int count, char **arguments) {
    bool only_names = false;
    const char *codes = NULL;
    device = -1;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--hypercalls") == 0) {
            use_page = false;
        } else if (strcmp(arguments[i], "--old") == 0) {
            kernel = OLD_KERNEL;
        } else if (strcmp(arguments[i], "--new") == 0) {
            kernel = NEW_KERNEL;
        } else if (strcmp(arguments[i], "--names") == 0) {
            only_names = true;
        } else if (strcmp(arguments[i], "--device") == 0 && i + 1 < count) {
            device = atoi(arguments[++i]);
        } else if (strcmp(arguments[i], "--confine") == 0 && i + 1 < count) {
            codes = arguments[++i];
        } else {
            fprintf(stderr, "usage: monitor [--hypercalls] [--old | --new] [--device FD] [--names]"
                            " [--confine CODES]\n");
            return 64;
        }
    }
    if (device < 0) device = open("/dev/mshv", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        printf("/dev/mshv: %s\n", strerror(errno));
        return 77;
    }
    check_creation();
    check_initialization();
    check_vp();
    check_moved();
    check_pages();
    check_empty();
    check_memory_arguments();
    if (codes) confine(codes);
    if (codes) check_confined_memory();
    map_guest();
    check_call_arguments();
    check_special();
    if (only_names) {
        show_names();
        return 0;
    }
    check_ports();
    check_mixed();
    check_faults();
    check_debugging();
    check_registers();
    check_xsave();
    check_special();
    check_translation();
    if (!codes) check_tracking();
    check_signals();
    check_many_signals();
    check_injection();
    check_invalid_registers();
    if (!codes) check_ends();
    printf("%d checks passed, %d failed; %u hypercalls repeated\n", passed, failed, repeated);
    return failed != 0;
}
