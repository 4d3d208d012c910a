// The counter guest as an ordinary Linux program, for gdbserver: the same source, the same loop.

#include "../../Sources/Guests/counter.c"

/// 64 KiB to read that are there in every process; the guest has its scratch memory.
unsigned char room[1 << 16] = {1};

int main(void) {
    guest_main();
    return 0;
}
