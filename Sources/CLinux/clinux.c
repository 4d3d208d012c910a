#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

const char *clinux_build_id(void) { return CLINUX_BUILD_ID; }

static int result_of(long value) { return value < 0 ? -errno : (int)value; }

int clinux_ioctl(int descriptor, unsigned long request, void *argument) {
    return result_of(ioctl(descriptor, request, argument));
}

int clinux_ioctl_value(int descriptor, unsigned long request, unsigned long value) {
    return result_of(ioctl(descriptor, request, value));
}

int clinux_open(const char *path, int flags) {
    return result_of(open(path, flags | O_CLOEXEC));
}

int clinux_open_place(const char *path) { return result_of(open(path, O_PATH | O_CLOEXEC)); }

int clinux_open_create(const char *path, int flags, mode_t mode) {
    return result_of(open(path, flags | O_CREAT | O_CLOEXEC, mode));
}

int clinux_memfd_create(const char *name) {
    return result_of(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

int clinux_seal(int descriptor) {
    return result_of(fcntl(descriptor, F_ADD_SEALS,
                           F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL));
}

int clinux_is_sealed(int descriptor) {
    int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int seals = fcntl(descriptor, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted;
}

int clinux_eventfd(void) { return result_of(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int clinux_pipe(int *reader, int *writer) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    *reader = ends[0];
    *writer = ends[1];
    return 0;
}

int clinux_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -errno;
    return result_of(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int clinux_take_signal(int descriptor) {
    struct signalfd_siginfo info;
    ssize_t count = read(descriptor, &info, sizeof info);
    return count == sizeof info ? (int)info.ssi_signo : -errno;
}

int clinux_lock(int descriptor) { return result_of(flock(descriptor, LOCK_EX | LOCK_NB)); }

int clinux_duplicate(int descriptor, int number) {
    return result_of(dup3(descriptor, number, O_CLOEXEC));
}

int clinux_set_async(int descriptor, int enabled) {
    return result_of(fcntl(descriptor, F_SETFL, O_NONBLOCK | (enabled ? O_ASYNC : 0)));
}

int clinux_own_signal(int descriptor) {
    return result_of(fcntl(descriptor, F_SETOWN, getpid()));
}

int clinux_pidfd_open(pid_t pid) { return result_of(syscall(SYS_pidfd_open, pid, 0)); }

int clinux_pidfd_send_signal(int pidfd, int signal_number) {
    return result_of(syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0));
}

int clinux_reap(int pidfd, int *code, int *status) {
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0) return -errno;
    if (info.si_pid == 0) return 0;
    *code = info.si_code;
    *status = info.si_status;
    return 1;
}

int clinux_set_parent_death_signal(int signal_number) {
    return result_of(prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0));
}

int clinux_set_no_new_privileges(void) {
    return result_of(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int clinux_set_dumpable(int dumpable) {
    return result_of(prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0));
}

int clinux_clear_ambient_set(void) {
    return result_of(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
}

int clinux_set_limit(int resource, uint64_t limit) {
    struct rlimit both = {.rlim_cur = limit, .rlim_max = limit};
    return result_of(setrlimit(resource, &both));
}

void *clinux_map_anonymous(size_t byte_count) {
    void *place = mmap(NULL, byte_count, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return place == MAP_FAILED ? NULL : place;
}

void *clinux_map_file(int descriptor, size_t byte_count) {
    void *place = mmap(NULL, byte_count, PROT_READ, MAP_SHARED, descriptor, 0);
    return place == MAP_FAILED ? NULL : place;
}

void *clinux_map_shared(int descriptor, size_t byte_count) {
    void *place = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    return place == MAP_FAILED ? NULL : place;
}
