// Prints three lines and finishes: the smallest guest that is worth watching.

#include "ports.h"

static void print_line(const char *text) {
    for (const char *next = text; *next != '\0'; next++) print_scalar((uint8_t)*next);
    print_scalar('\n');
}

void guest_main(void) {
    print_line("Hello from a micro-VM.");
    print_line("There is no operating system here: a CPU, some memory, a few ports.");
    print_line("Goodbye.");
}
