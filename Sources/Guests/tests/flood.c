// Prints for ever, as fast as it can.

#include "ports.h"

void guest_main(void) {
    for (;;) {
        for (char c = 'a'; c <= 'z'; c++) print_scalar(c);
        print_scalar('\n');
    }
}
