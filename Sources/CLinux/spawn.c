// Starting a child so that the parent learns the errno of each step, exec included.
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { descriptors_max = 32, child_stack_bytes = 64 * 1024 };

// Without copying its memory a child is born faster, as after vfork.
#if defined(__has_feature) && __has_feature(thread_sanitizer)
// ThreadSanitizer takes each clone for a fork; in shared memory the child would undo the parent's locks.
enum { shared_until_exec = 0 };
#else
enum { shared_until_exec = CLONE_VM };
#endif

/// All that the child needs; it only reads it, but for `error`.
struct birth {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const struct clinux_descriptor_map *map;
    size_t map_count;
    unsigned namespaces;
    pid_t parent;
    uid_t user;
    gid_t group;
    volatile int error;
};

/// What parent and child share: the child has a stack of its own, and memory too in some cases.
struct nursery {
    struct birth birth;
    char stack[child_stack_bytes] __attribute__((aligned(16)));
};

/// Puts every source at its target; lifts all sources above all targets first so that no dup2
/// overwrites a source that is still needed.
static int place_descriptors(const struct clinux_descriptor_map *map, size_t count) {
    int lifted[descriptors_max];
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

static int write_text(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return errno;
    int error = write(file, text, strlen(text)) < 0 ? errno : 0;
    close(file);
    return error;
}

/// "0 NUMBER 1": root inside is the user who started us outside. Without a map exec would take all
/// capabilities away that the new user namespace gives.
static int map_identity(const char *path, unsigned number) {
    char text[32] = "0 ";
    char digits[12];
    size_t count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    size_t end = 2;
    while (count > 0) text[end++] = digits[--count];
    memcpy(text + end, " 1", 3);
    return write_text(path, text);
}

static int become_root_of_user_namespace(const struct birth *birth) {
    // The files are ours only while we can be dumped; this memory is a copy, the parent's flag stays.
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) return errno;
    int error = write_text("/proc/self/setgroups", "deny");
    if (error == 0) error = map_identity("/proc/self/gid_map", birth->group);
    if (error == 0) error = map_identity("/proc/self/uid_map", birth->user);
    return error;
}

static int prepare_child(const struct birth *birth) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return errno;
    // The parent waits for our exec, so it can be gone only by SIGKILL. Behind the border of a PID
    // namespace it is always 0; the child itself looks at its control socket then.
    if ((birth->namespaces & CLONE_NEWPID) == 0 && getppid() != birth->parent) return ESRCH;
    if ((birth->namespaces & CLONE_NEWUSER) != 0) {
        int error = become_root_of_user_namespace(birth);
        if (error != 0) return error;
    }
    // Signals of a terminal are for the parent alone, and nothing can be typed into one from here.
    if (setsid() < 0) return errno;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) return errno;
    return place_descriptors(birth->map, birth->map_count);
}

static int be_born(void *argument) {
    struct birth *birth = argument;
    birth->error = prepare_child(birth);
    if (birth->error == 0) {
        execve(birth->path, birth->arguments, birth->environment);
        birth->error = errno;
    }
    _exit(127);
}

pid_t clinux_spawn(const char *path, char *const arguments[], char *const environment[],
                   const struct clinux_descriptor_map *map, size_t map_count,
                   unsigned namespaces) {
    if (map_count > descriptors_max) return -E2BIG;
    if ((namespaces & ~(unsigned)(CLONE_NEWPID | CLONE_NEWUSER)) != 0) return -EINVAL;
    struct nursery *nursery = mmap(NULL, sizeof *nursery, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (nursery == MAP_FAILED) return -errno;
    nursery->birth = (struct birth){
        .path = path, .arguments = arguments, .environment = environment, .map = map,
        .map_count = map_count, .namespaces = namespaces, .parent = getpid(), .user = geteuid(),
        .group = getegid()};
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    // With a user namespace the child has to change a flag of its memory.
    unsigned sharing = (namespaces & CLONE_NEWUSER) != 0 ? 0 : shared_until_exec;
    pid_t child = clone(be_born, nursery->stack + sizeof nursery->stack,
                        (int)(CLONE_VFORK | SIGCHLD | sharing | namespaces), &nursery->birth);
    int clone_error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    int error = child < 0 ? clone_error : nursery->birth.error;
    munmap(nursery, sizeof *nursery);
    if (error == 0) return child;
    if (child > 0) waitpid(child, NULL, 0);  // it has ended with _exit
    return -error;
}
