// Counts for ever and prints a line every `ticks_per_line` ticks: its output is a clock that stands
// still whenever the guest does.

#include <stdint.h>

#include "ports.h"

volatile uint64_t ticks;

/// A debugger may change it; its first value means never.
volatile uint64_t ticks_per_line = UINT64_C(1) << 62;

void tick(void) { ticks++; }

static void count_to(uint64_t end) {
    while (ticks < end) tick();
}

void guest_main(void) {
    for (;;) {
        count_to(ticks + ticks_per_line);
        print_scalar('.');
        print_scalar('\n');
    }
}
