#include "ConformanceSupport.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// A handler that ThreadSanitizer does not know of must not call into it.
#if defined(__has_feature) && __has_feature(thread_sanitizer)
#define NOT_WATCHED __attribute__((disable_sanitizer_instrumentation))
#else
#define NOT_WATCHED
#endif

NOT_WATCHED static void apply_kick(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    conformance_kick *kick = info->si_value.sival_ptr;
    if (kick == NULL) return;
    if (kick->function) kick->function(kick->argument);
    if (kick->flag) *(volatile unsigned char *)kick->flag = 1;
}

NOT_WATCHED static void give_up(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    static const char text[] = "conformance case did not end: ";
    const char *name = info->si_value.sival_ptr;
    (void)!write(2, text, sizeof text - 1);
    (void)!write(2, name, strlen(name));
    (void)!write(2, "\n", 1);
    _exit(70);
}

#if defined(__has_feature) && __has_feature(thread_sanitizer)
// ThreadSanitizer keeps signals back until the program calls a library function, which a spinning guest
// of the emulator never does. So past it: the kernel's own call, on what signal() set up.
static int handle_signal(int signal, void (*handler)(int, siginfo_t *, void *)) {
    struct {
        void (*handler)(int, siginfo_t *, void *);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action;
    if (ssignal(signal, SIG_IGN) == SIG_ERR) return -1;
    if (syscall(SYS_rt_sigaction, signal, NULL, &action, sizeof action.mask) < 0) return -1;
    action.handler = handler;
    action.flags = (action.flags & ~(unsigned long)SA_RESTART) | SA_SIGINFO;
    return (int)syscall(SYS_rt_sigaction, signal, &action, NULL, sizeof action.mask);
}
#else
static int handle_signal(int signal, void (*handler)(int, siginfo_t *, void *)) {
    // No SA_RESTART: the signal has to end the system call that the vCPU is in.
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    return sigaction(signal, &action, NULL);
}
#endif

static long arm(int signal, void (*handler)(int, siginfo_t *, void *), void *value,
                unsigned microseconds) {
    if (handle_signal(signal, handler) < 0) return -errno;
    // Tests run on threads that have every signal blocked.
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};
    event.sigev_value.sival_ptr = value;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    // The raw calls: glibc's timer_t is not promised to be a small number.
    int timer = 0;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) < 0) return -errno;
    struct itimerspec when = {.it_value = {microseconds / 1000000, microseconds % 1000000 * 1000L}};
    if (syscall(SYS_timer_settime, timer, 0, &when, NULL) < 0) return -errno;
    return timer;
}

long conformance_arm_kick(conformance_kick *kick, unsigned microseconds) {
    return arm(SIGRTMIN + 5, apply_kick, kick, microseconds);
}

long conformance_arm_watchdog(const char *name, unsigned milliseconds) {
    return arm(SIGRTMIN + 6, give_up, (void *)(uintptr_t)name, milliseconds * 1000);
}

void conformance_disarm(long timer) {
    if (timer >= 0) syscall(SYS_timer_delete, (int)timer);
}
