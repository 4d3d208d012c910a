// The kick: a signal that makes the vCPU come back.
//
// Signal handlers can reach only global data, so this is the one file of the project with some. The
// handler does nothing but store a byte and call one async-signal-safe function of the driver.
//
// The repeated kick at the end is such a function, for a hypervisor whose run call looks at nothing
// before it enters the guest: only a signal that arrives meanwhile ends it.
#include "CLinux.h"

#include <errno.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile uint8_t *kick_flag;
static clinux_kick_function kick_function;
static void *kick_argument;

#if defined(__has_feature) && __has_feature(thread_sanitizer)
// ThreadSanitizer keeps signals back until the program calls a library function, which compiled guest
// code never does. It does not know this name of signal(). That calls are restarted then makes no
// difference: neither poll nor KVM_RUN ever is.
#define NOT_WATCHED __attribute__((disable_sanitizer_instrumentation))
static int handle_signal(int number, void (*handler)(int)) {
    return ssignal(number, handler) == SIG_ERR ? -1 : 0;
}
#else
#define NOT_WATCHED
static int handle_signal(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};  // no SA_RESTART: calls shall return
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL);
}
#endif

NOT_WATCHED static void handle_kick(int signal_number) {
    (void)signal_number;
    if (kick_flag) *kick_flag = 1;
    if (kick_function) kick_function(kick_argument);
}

int clinux_install_kick(volatile uint8_t *flag, clinux_kick_function function, void *argument) {
    kick_flag = flag;
    kick_function = function;
    kick_argument = argument;
    if (handle_signal(SIGIO, handle_kick) < 0) return -errno;
    return handle_signal(SIGALRM, handle_kick) < 0 ? -errno : 0;
}

void clinux_forget_kick(const volatile void *target) {
    if (kick_flag == target) kick_flag = NULL;
    if (kick_argument == target) kick_function = NULL;
}

int clinux_alarm(uint64_t microseconds) {
    struct itimerval timer = {
        .it_value = {.tv_sec = (time_t)(microseconds / 1000000),
                     .tv_usec = (suseconds_t)(microseconds % 1000000)},
    };
    return setitimer(ITIMER_REAL, &timer, NULL) < 0 ? -errno : 0;
}

// --- repeated kick -------------------------------------------------------------------------------
//
// The kick and the vCPU are one thread, so the handler runs between two instructions of
// clinux_ioctl_unless_kicked or somewhere else, never beside it:
//
//   before is_entering = 1    is_requested is seen, and the call is not made;
//   from there to the call's  the timer starts, and its signals come until the call has returned: the
//   return                    first may come too early as well, but not all of them can;
//   after is_entering = 0     is_requested stays for the next run, and no timer starts.
//
// The timer is stopped on the way out. It signals this thread, so what it has sent by then has been
// delivered when that call returns: nothing of it can reach the next run.

static long set_timer(int timer, long nanoseconds) {
    struct itimerspec when = {.it_interval = {0, nanoseconds}, .it_value = {0, nanoseconds}};
    return syscall(SYS_timer_settime, timer, 0, &when, NULL);
}

NOT_WATCHED static void handle_tick(int signal_number) { (void)signal_number; }

int clinux_open_repeated_kick(struct clinux_repeated_kick *kick) {
    int tick = SIGRTMIN;
    if (handle_signal(tick, handle_tick) < 0) return -errno;
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, tick);
    int code = pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    if (code != 0) return -code;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = tick};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    // The raw calls: glibc does not promise that its timer_t is the kernel's number.
    int timer = 0;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) < 0) return -errno;
    *kick = (struct clinux_repeated_kick){.timer = timer};
    return 0;
}

void clinux_close_repeated_kick(struct clinux_repeated_kick *kick) {
    clinux_forget_kick(kick);
    syscall(SYS_timer_delete, kick->timer);
}

NOT_WATCHED void clinux_kick_repeatedly(void *argument) {
    struct clinux_repeated_kick *kick = argument;
    kick->is_requested = 1;
    if (!kick->is_entering) return;
    int error = errno;
    set_timer(kick->timer, CLINUX_KICK_NANOSECONDS);
    errno = error;
}

void clinux_forget_repeated_kick(struct clinux_repeated_kick *kick) { kick->is_requested = 0; }

int clinux_ioctl_unless_kicked(struct clinux_repeated_kick *kick, int descriptor,
                               unsigned long request, void *argument) {
    kick->is_entering = 1;
    int result = kick->is_requested ? -EINTR : clinux_ioctl(descriptor, request, argument);
    kick->is_entering = 0;
    if (kick->is_requested) set_timer(kick->timer, 0);
    return result;
}
