// Counts for ever and prints a line every `ticks_per_line` ticks: its output is a clock that stands
// still whenever the guest does.

#include <stdint.h>

#include "ports.h"

volatile uint64_t ticks;

/// A debugger may change it; its first value means never.
volatile uint64_t ticks_per_line = UINT64_C(1) << 62;

void tick(void) { ticks++; }

void guest_main(void) {
    for (;;) {
        uint64_t start = ticks;
        while (ticks - start < ticks_per_line) tick();
        print_scalar('.');
        print_scalar('\n');
    }
}
