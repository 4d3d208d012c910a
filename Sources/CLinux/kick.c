// The kick: a signal that makes the vCPU come back.
//
// Signal handlers can reach only global data, so this is the one file of the project with some. The
// handler does nothing but store a byte and call one async-signal-safe function of the driver.
#include "CLinux.h"

#include <errno.h>
#include <sys/time.h>

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

int clinux_alarm(uint64_t microseconds) {
    struct itimerval timer = {
        .it_value = {.tv_sec = (time_t)(microseconds / 1000000),
                     .tv_usec = (suseconds_t)(microseconds % 1000000)},
    };
    return setitimer(ITIMER_REAL, &timer, NULL) < 0 ? -errno : 0;
}
