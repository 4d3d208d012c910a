// The environment, read once at load, and the trace.
//
// The trace goes into a file that is mapped at load: a confined process may not write, but it may store.
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

struct settings settings;

enum { TRACE_SIZE = 4 << 20 };
static char *trace_text;
static atomic_size_t trace_used;

static bool is_on(const char *name) {
    const char *value = getenv(name);
    return value && *value && strcmp(value, "0") != 0;
}

// CODE:CALL:NTH, for example 0x50:0x51:3.
static void read_status(const char *text) {
    char *end;
    unsigned long code = strtoul(text, &end, 0);
    if (*end != ':') return complain_once("MSHV_SHIM_STATUS is not CODE:CALL:NTH");
    unsigned long call = strtoul(end + 1, &end, 0);
    if (*end != ':') return complain_once("MSHV_SHIM_STATUS is not CODE:CALL:NTH");
    settings.status_code = (uint16_t)code;
    settings.status_call = (uint16_t)call;
    settings.status_nth = (uint32_t)strtoul(end + 1, NULL, 0);
}

// One file a process: FILE.PID. Behind the text it is full of zero bytes, because its length cannot be
// changed once the process is confined.
static void open_trace(const char *path) {
    char name[4096];
    int length = snprintf(name, sizeof name, "%s.%d", path, (int)getpid());
    if (length < 0 || (size_t)length >= sizeof name) return;
    long fd = kernel_call(SYS_openat, AT_FDCWD, (long)name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                          0644, 0, 0);
    if (fd < 0) return complain_once("the file of MSHV_SHIM_TRACE cannot be opened");
    long place = -1;
    if (kernel_call(SYS_ftruncate, fd, TRACE_SIZE, 0, 0, 0, 0) == 0) {
        place = kernel_mmap(NULL, TRACE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    }
    kernel_close((int)fd);
    if (place > 0) trace_text = (char *)place;
}

void settings_read(void) {
    settings.verbose = is_on("MSHV_SHIM_VERBOSE");
    settings.no_register_page = is_on("MSHV_SHIM_NO_REGISTER_PAGE");
    settings.old_kernel = is_on("MSHV_SHIM_OLD_KERNEL");
    settings.no_shared_registers = is_on("MSHV_SHIM_NO_SHARED_REGISTERS");
    settings.fast = is_on("MSHV_SHIM_FAST");
    settings.endless_halt = is_on("MSHV_SHIM_ENDLESS_HALT");
    const char *every = getenv("MSHV_SHIM_EAGAIN_EVERY");
    if (every) settings.eagain_every = (uint32_t)strtoul(every, NULL, 0);
    const char *path = getenv("MSHV_SHIM_TRACE");
    if (path && *path) open_trace(path);
    const char *status = getenv("MSHV_SHIM_STATUS");
    if (status && *status) read_status(status);
}

bool tracing(void) { return trace_text != NULL; }

void trace(const char *format, ...) {
    if (!trace_text) return;
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    if ((size_t)length > sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    size_t start = atomic_fetch_add(&trace_used, (size_t)length);
    if (start + (size_t)length <= TRACE_SIZE) memcpy(trace_text + start, line, (size_t)length);
}

void complain_once(const char *sentence) {
    trace("%s", sentence);
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (!settings.verbose || atomic_flag_test_and_set(&done)) return;
    char line[512];
    int length = snprintf(line, sizeof line, "mshv-shim: %s\n", sentence);
    if (length > 0) kernel_call(SYS_write, 2, (long)line, length, 0, 0, 0);
}
