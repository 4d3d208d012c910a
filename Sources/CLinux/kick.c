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

static void handle_kick(int signal_number) {
    (void)signal_number;
    if (kick_flag) *kick_flag = 1;
    if (kick_function) kick_function(kick_argument);
}

int clinux_install_kick(volatile uint8_t *flag, clinux_kick_function function, void *argument) {
    kick_flag = flag;
    kick_function = function;
    kick_argument = argument;
    struct sigaction action = {.sa_handler = handle_kick};  // no SA_RESTART: calls shall return
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGIO, &action, NULL) < 0 || sigaction(SIGALRM, &action, NULL) < 0) return -errno;
    return 0;
}

int clinux_alarm(uint64_t microseconds) {
    struct itimerval timer = {
        .it_value = {.tv_sec = (time_t)(microseconds / 1000000),
                     .tv_usec = (suseconds_t)(microseconds % 1000000)},
    };
    return setitimer(ITIMER_REAL, &timer, NULL) < 0 ? -errno : 0;
}
