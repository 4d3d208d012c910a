// The functions that compilers call without being asked. Embedded Swift wants the last three
// symbols as well; a guest that allocates gets an error, it does not get memory.

#include <stddef.h>
#include <stdint.h>

#include "ports.h"

void *memset(void *destination, int value, size_t count) {
    uint8_t *to = destination;
    for (size_t i = 0; i < count; i++) to[i] = (uint8_t)value;
    return destination;
}

void *memcpy(void *restrict destination, const void *restrict source, size_t count) {
    uint8_t *to = destination;
    const uint8_t *from = source;
    for (size_t i = 0; i < count; i++) to[i] = from[i];
    return destination;
}

void *memmove(void *destination, const void *source, size_t count) {
    uint8_t *to = destination;
    const uint8_t *from = source;
    if (to <= from) return memcpy(destination, source, count);
    for (size_t i = count; i > 0; i--) to[i - 1] = from[i - 1];
    return destination;
}

int posix_memalign(void **result, size_t alignment, size_t count) {
    (void)result, (void)alignment, (void)count;
    return 12;  // ENOMEM
}

void free(void *pointer) { (void)pointer; }

int putchar(int character) {
    print_scalar((uint32_t)character);
    return character;
}
