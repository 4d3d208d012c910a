// Starting a child with vfork, so that the parent learns the errno of each step, exec included.
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Puts every source at its target; lifts all sources above all targets first so that no dup2
/// overwrites a source that is still needed.
static int place_descriptors(const struct clinux_descriptor_map *map, size_t count, int *lifted) {
    int highest = 2;
    for (size_t i = 0; i < count; i++) {
        if (map[i].target > highest) highest = map[i].target;
    }
    for (size_t i = 0; i < count; i++) {
        lifted[i] = fcntl(map[i].source, F_DUPFD, highest + 1);
        if (lifted[i] < 0) return errno;
    }
    if (syscall(SYS_close_range, 0U, (unsigned)highest, 0U) < 0) return errno;
    for (size_t i = 0; i < count; i++) {
        if (dup2(lifted[i], map[i].target) < 0) return errno;
    }
    return syscall(SYS_close_range, (unsigned)highest + 1, ~0U, 0U) < 0 ? errno : 0;
}

static int prepare_child(pid_t parent, const struct clinux_descriptor_map *map, size_t count,
                         int *lifted) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return errno;
    if (getppid() != parent) return ESRCH;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) return errno;
    return place_descriptors(map, count, lifted);
}

pid_t clinux_spawn(const char *path, char *const arguments[], char *const environment[],
                   const struct clinux_descriptor_map *map, size_t map_count) {
    enum { descriptors_max = 32 };
    int lifted[descriptors_max];
    if (map_count > descriptors_max) return -E2BIG;
    volatile int error = 0;
    pid_t parent = getpid();
    sigset_t all, before;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &before) < 0) return -errno;
    pid_t child = vfork();
    if (child == 0) {
        error = prepare_child(parent, map, map_count, lifted);
        if (error == 0) {
            execve(path, arguments, environment);
            error = errno;
        }
        _exit(127);
    }
    int fork_error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (child < 0) return -fork_error;
    return error == 0 ? child : -error;
}
