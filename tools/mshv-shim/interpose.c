// The C library's functions that a user of /dev/mshv calls, and the table of its descriptors.
//
// Identity follows the open file: the table learns from dup, dup2, dup3, fcntl and close. A device that
// was inherited is in no table; the first request of ours on it makes it one, if it answers as KVM does.
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

#define EXPORTED __attribute__((visibility("default")))

enum { DESCRIPTORS_MAX = 16384 };
static struct object *objects[DESCRIPTORS_MAX];
static struct object device = {.kind = DEVICE, .fd = -1};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// A child that shares our memory until its exec (vfork, clone) moves descriptors of its own table only.
static pid_t owner;

static void note_owner(void) { owner = getpid(); }
static bool is_owner(void) { return getpid() == owner; }

__attribute__((constructor)) static void load(void) {
    settings_read();
    note_owner();
    pthread_atfork(NULL, NULL, note_owner);
}

static long result_of(long value) {
    if (value >= 0 || value < -4095) return value;
    errno = (int)-value;
    return -1;
}

// --- The table ------------------------------------------------------------------------------------

struct object *object_of(int fd) {
    return fd >= 0 && fd < DESCRIPTORS_MAX ? __atomic_load_n(&objects[fd], __ATOMIC_ACQUIRE) : NULL;
}

static void put_locked(int fd, struct object *object) {
    __atomic_store_n(&objects[fd], object, __ATOMIC_RELEASE);
}

static int other_number_of(const struct object *object) {
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        if (objects[fd] == object) return fd;
    }
    return -1;
}

static void forget(int fd) {
    if (!object_of(fd) || !is_owner()) return;
    pthread_mutex_lock(&lock);
    struct object *object = objects[fd];
    put_locked(fd, NULL);
    bool was_last = object && --object->numbers == 0;
    if (object && object->fd == fd) object->fd = was_last ? -1 : other_number_of(object);
    pthread_mutex_unlock(&lock);
    if (!was_last || object->kind == DEVICE) return;
    partition_release(object->kind == PARTITION ? object_container(object, struct partition)
                                                : object_container(object, struct vp)->partition);
}

int object_adopt(struct object *object, int fd) {
    if (fd >= DESCRIPTORS_MAX) {
        kernel_close(fd);
        return -EMFILE;
    }
    forget(fd);
    pthread_mutex_lock(&lock);
    put_locked(fd, object);
    object->numbers++;
    if (object->fd < 0) object->fd = fd;
    pthread_mutex_unlock(&lock);
    return 0;
}

// `new` has become another number of `old`, whatever it was before.
static long duplicated(int old, long new) {
    if (new < 0 || new == old) return new;
    struct object *object = object_of(old);
    if (!object) {
        forget((int)new);
        return new;
    }
    if (!is_owner()) return new;
    int error = object_adopt(object, (int)new);
    return error < 0 ? error : new;
}

// --- Opening --------------------------------------------------------------------------------------

static bool is_device_name(const char *path) { return path && strcmp(path, "/dev/mshv") == 0; }

static long open_any(int folder, const char *path, int flags, mode_t mode) {
    if (!is_device_name(path)) {
        long fd = kernel_call(SYS_openat, folder, (long)path, flags, mode, 0, 0);
        if (fd >= 0) forget((int)fd);
        return fd;
    }
    long fd = kernel_call(SYS_openat, AT_FDCWD, (long)"/dev/kvm", flags, 0, 0, 0);
    if (fd < 0) {
        complain_once("there is no /dev/kvm to stand in for /dev/mshv");
        return -ENOENT;
    }
    if (device_usable((int)fd) < 0) {
        kernel_close((int)fd);
        return -ENOENT;
    }
    int error = object_adopt(&device, (int)fd);
    trace("open /dev/mshv: %ld", error < 0 ? error : fd);
    return error < 0 ? error : fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name, folder_parameter, folder)                                \
    EXPORTED int name(folder_parameter const char *path, int flags, ...) {  \
        va_list arguments;                                                  \
        va_start(arguments, flags);                                         \
        mode_t mode = mode_of(flags, arguments);                            \
        va_end(arguments);                                                  \
        return (int)result_of(open_any(folder, path, flags, mode));         \
    }
#define NOTHING
#define FOLDER int directory,

OPEN(open, NOTHING, AT_FDCWD)
OPEN(open64, NOTHING, AT_FDCWD)
OPEN(openat, FOLDER, directory)
OPEN(openat64, FOLDER, directory)

// What fortified programs call when there is no mode.
EXPORTED int __open_2(const char *path, int flags) {
    return (int)result_of(open_any(AT_FDCWD, path, flags, 0));
}
EXPORTED int __open64_2(const char *path, int flags) {
    return (int)result_of(open_any(AT_FDCWD, path, flags, 0));
}
EXPORTED int __openat_2(int directory, const char *path, int flags) {
    return (int)result_of(open_any(directory, path, flags, 0));
}
EXPORTED int __openat64_2(int directory, const char *path, int flags) {
    return (int)result_of(open_any(directory, path, flags, 0));
}

// --- Descriptors ----------------------------------------------------------------------------------

EXPORTED int close(int fd) {
    // First out of the table: right after the call another thread may have the number.
    forget(fd);
    return (int)result_of(kernel_close(fd));
}

static void forget_range(unsigned first, unsigned last) {
    for (unsigned fd = first; fd <= last && fd < DESCRIPTORS_MAX; fd++) forget((int)fd);
}

EXPORTED int close_range(unsigned first, unsigned last, int flags) {
    if (flags == 0) forget_range(first, last);
    return (int)result_of(kernel_call(SYS_close_range, first, last, flags, 0, 0, 0));
}

EXPORTED int dup(int old) {
    return (int)result_of(duplicated(old, kernel_call(SYS_dup, old, 0, 0, 0, 0, 0)));
}

EXPORTED int dup2(int old, int new) {
    return (int)result_of(duplicated(old, kernel_call(SYS_dup2, old, new, 0, 0, 0, 0)));
}

EXPORTED int dup3(int old, int new, int flags) {
    return (int)result_of(duplicated(old, kernel_call(SYS_dup3, old, new, flags, 0, 0, 0)));
}

static int control(int fd, int command, long argument) {
    if (command == F_GETOWN) {
        // The bare call's answer for a process group looks like an error.
        struct f_owner_ex owner;
        long result = kernel_call(SYS_fcntl, fd, F_GETOWN_EX, (long)&owner, 0, 0, 0);
        if (result < 0) return (int)result_of(result);
        return owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
    }
    long result = kernel_call(SYS_fcntl, fd, command, argument, 0, 0, 0);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) result = duplicated(fd, result);
    return (int)result_of(result);
}

#define FCNTL(name)                                    \
    EXPORTED int name(int fd, int command, ...) {      \
        va_list arguments;                             \
        va_start(arguments, command);                  \
        long argument = va_arg(arguments, long);       \
        va_end(arguments);                             \
        return control(fd, command, argument);         \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

// --- Requests -------------------------------------------------------------------------------------

static long request_of(int fd, unsigned long request, void *argument) {
    enum { MAGIC_AT = 8, KVM_MAGIC = 0xae };
    uint32_t code = (uint32_t)request;  // libraries may sign-extend it
    struct object *object = object_of(fd);
    if ((code >> MAGIC_AT & 0xff) == KVM_MAGIC && object) {
        // The descriptor would understand; the one it stands for would not.
        trace("COMPLAINT: KVM request %#x on a descriptor of MSHV", code);
        return -ENOTTY;
    }
    if ((code >> MAGIC_AT & 0xff) != MSHV_MAGIC) return kernel_ioctl(fd, request, argument);
    if (!object) {
        long version = kernel_ioctl(fd, KVM_GET_API_VERSION, NULL);
        if (version != KVM_API_VERSION) return version < 0 ? version : -ENOTTY;
        int error = device_usable(fd);
        if (error < 0) return error;
        error = object_adopt(&device, fd);
        if (error < 0) return error;
        trace("descriptor %d is an inherited device", fd);
        object = &device;
    }
    switch (object->kind) {
        case DEVICE: return device_ioctl(fd, code, argument);
        case PARTITION: {
            struct partition *partition = object_container(object, struct partition);
            pthread_mutex_lock(&partition->mutex);
            long result = partition_ioctl(partition, code, argument);
            pthread_mutex_unlock(&partition->mutex);
            return result;
        }
        case VP: {
            struct vp *vp = object_container(object, struct vp);
            pthread_mutex_lock(&vp->mutex);
            long result = vp_ioctl(vp, code, argument);
            pthread_mutex_unlock(&vp->mutex);
            return result;
        }
    }
    return -ENOTTY;
}

EXPORTED int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return (int)result_of(request_of(fd, request, argument));
}

// --- Memory ---------------------------------------------------------------------------------------

static void *map_any(void *place, size_t size, int protection, int flags, int fd, off_t offset) {
    struct object *object = flags & MAP_ANONYMOUS ? NULL : object_of(fd);
    long result = -ENODEV;
    if (!object) {
        result = kernel_mmap(place, size, protection, flags, fd, offset);
    } else if (object->kind == VP) {
        result =
            vp_mmap(object_container(object, struct vp), place, size, protection, flags, offset);
    }
    if (result >= 0 || result < -4095) {
        mappings_note((uintptr_t)result, size, protection & PROT_WRITE);
    }
    return (void *)result_of(result);
}

EXPORTED void *mmap(void *place, size_t size, int protection, int flags, int fd, off_t offset) {
    return map_any(place, size, protection, flags, fd, offset);
}

EXPORTED void *mmap64(void *place, size_t size, int protection, int flags, int fd, off_t offset) {
    return map_any(place, size, protection, flags, fd, offset);
}

EXPORTED int munmap(void *place, size_t size) {
    long result = kernel_call(SYS_munmap, (long)place, (long)size, 0, 0, 0, 0);
    if (result == 0) mappings_note((uintptr_t)place, size, true);
    return (int)result_of(result);
}

EXPORTED int mprotect(void *place, size_t size, int protection) {
    long result = kernel_call(SYS_mprotect, (long)place, (long)size, protection, 0, 0, 0);
    if (result == 0) mappings_note((uintptr_t)place, size, protection & PROT_WRITE);
    return (int)result_of(result);
}

// --- Confinement ----------------------------------------------------------------------------------

// The two ways to a seccomp filter. After it the shim makes no other call than ioctl.
EXPORTED long syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
    va_end(arguments);
    long result = kernel_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_seccomp && a[0] == SECCOMP_SET_MODE_FILTER && result >= 0) confined = true;
    if (number == SYS_close_range && a[2] == 0 && result == 0) {
        forget_range((unsigned)a[0], (unsigned)a[1]);
    }
    return result_of(result);
}

EXPORTED int prctl(int option, ...) {
    va_list arguments;
    va_start(arguments, option);
    long a[4];
    for (int i = 0; i < 4; i++) a[i] = va_arg(arguments, long);
    va_end(arguments);
    long result = kernel_call(SYS_prctl, option, a[0], a[1], a[2], a[3], 0);
    if (option == PR_SET_SECCOMP && result >= 0) confined = true;
    return (int)result_of(result);
}
