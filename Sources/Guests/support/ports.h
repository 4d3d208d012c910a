// What a bare guest can say to its host: one OUT to one of these ports. Nothing else is there, no
// device, no interrupt, no firmware.
#ifndef GUEST_PORTS_H
#define GUEST_PORTS_H

#include <stdint.h>

enum {
    port_log = 99,           // prints like 103
    port_debug_print = 103,  // one Unicode scalar an OUT
    port_halt = 108,         // the guest is done
};

/// `out dx, eax`: four bytes, the only width the host takes on every port.
static inline void port_out(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

/// Prints one Unicode scalar.
static inline void print_scalar(uint32_t scalar) { port_out(port_debug_print, scalar); }

#endif
