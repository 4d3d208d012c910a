#pragma once

// Timers for the driver conformance suite: a kick that comes from a signal handler on the thread
// that runs the vCPU, and a watchdog for a run that never ends.

/// What a kick does: calls `function` with `argument`, or stores 1 to `flag` when that is not null.
typedef struct {
    void (*function)(void *argument);
    void *argument;
    unsigned char *flag;
} conformance_kick;

/// Kicks once, `microseconds` from now, by a real-time signal to the calling thread.
///
/// Gives a timer for `conformance_disarm`, or a negative errno. `kick` must live until then.
long conformance_arm_kick(conformance_kick *kick, unsigned microseconds);

/// Ends the process with `name` on standard error unless disarmed within `milliseconds`.
///
/// `name` must live until then.
long conformance_arm_watchdog(const char *name, unsigned milliseconds);

/// Forgets a timer that one of the functions above gave.
void conformance_disarm(long timer);
