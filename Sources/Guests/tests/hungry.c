// Touches all of its memory, page by page, and then counts for ever: 64 MiB that the host must find.

#include <stdint.h>

#include "ports.h"

enum { page_bytes = 4096, page_count = 16384 };

static volatile uint8_t memory[page_count][page_bytes];

volatile uint64_t ticks;

void guest_main(void) {
    for (int page = 0; page < page_count; page++) memory[page][0] = 1;
    print_scalar('f');
    print_scalar('u');
    print_scalar('l');
    print_scalar('l');
    print_scalar('\n');
    for (;;) ticks++;
}
