// What the host has mapped: the hypervisor pins guest memory with write intent, KVM does not care.
//
// Before the process is confined /proc/self/maps knows. Afterwards, and where there is no /proc, only
// what was seen of mmap, mprotect and munmap counts; what was not seen passes.
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "shim.h"

bool confined;

enum { UNWRITABLE_MAX = 256 };
static struct {
    uintptr_t start, end;
} unwritable[UNWRITABLE_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void add(uintptr_t start, uintptr_t end) {
    for (size_t i = 0; i < UNWRITABLE_MAX; i++) {
        if (unwritable[i].end != 0) continue;
        unwritable[i].start = start;
        unwritable[i].end = end;
        return;
    }
}

void mappings_note(uintptr_t place, size_t size, bool writable) {
    uintptr_t end = (place + size + MSHV_PAGE_SIZE - 1) & ~(uintptr_t)(MSHV_PAGE_SIZE - 1);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < UNWRITABLE_MAX; i++) {
        uintptr_t from = unwritable[i].start, to = unwritable[i].end;
        if (to <= place || from >= end) continue;
        unwritable[i].end = 0;
        if (from < place) add(from, place);
        if (to > end) add(end, to);
    }
    if (!writable) add(place, end);
    pthread_mutex_unlock(&lock);
}

static int check_seen(uint64_t hva, uint64_t size) {
    int result = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < UNWRITABLE_MAX; i++) {
        if (unwritable[i].start < hva + size && unwritable[i].end > hva) result = -EFAULT;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

// Lines of "start-end rwxp ..", in the order of addresses.
struct scan {
    uint64_t wanted, end;  // writable up to `wanted`, which starts at the region
    uint64_t numbers[2];
    int column, field;
    bool writable, found, failed;
};

static void scan_line_end(struct scan *scan) {
    uint64_t from = scan->numbers[0], to = scan->numbers[1];
    if (!scan->failed && scan->wanted < scan->end && to > scan->wanted) {
        if (from > scan->wanted) {
            scan->failed = true;  // a hole
        } else {
            scan->found = true;
            if (!scan->writable) scan->failed = true;
            scan->wanted = to;
        }
    }
    scan->numbers[0] = scan->numbers[1] = 0;
    scan->column = scan->field = 0;
    scan->writable = false;
}

static void scan_byte(struct scan *scan, char byte) {
    if (byte == '\n') return scan_line_end(scan);
    if (scan->field < 2) {
        int digit = byte >= '0' && byte <= '9' ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                                                 : -1;
        if (digit < 0) {
            scan->field++;
        } else {
            scan->numbers[scan->field] = scan->numbers[scan->field] << 4 | (uint64_t)digit;
        }
    } else if (scan->field == 2) {
        if (scan->column++ == 1) {
            scan->writable = byte == 'w';
            scan->field++;
        }
    }
}

int mappings_check(uint64_t hva, uint64_t size) {
    if (confined) return check_seen(hva, size);
    long fd = kernel_call(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0,
                          0);
    if (fd < 0) return check_seen(hva, size);
    struct scan scan = {.wanted = hva, .end = hva + size};
    char buffer[4096];
    long count;
    while ((count = kernel_call(SYS_read, fd, (long)buffer, sizeof buffer, 0, 0, 0)) > 0) {
        for (long i = 0; i < count; i++) scan_byte(&scan, buffer[i]);
    }
    kernel_close((int)fd);
    if (!scan.found) return -EINVAL;
    return scan.failed || scan.wanted < scan.end ? -EFAULT : 0;
}
