// What all servers of the bench serve: the loop of the counter guest with memory to read and write.
// It is built three times from this source: as a bare guest, as a kernel for QEMU, and as a Linux
// process (with LINUX_PROCESS) for gdbserver.

#include "../../Sources/Guests/counter.c"

// 64 KiB that look like no run of anything: a linear congruential sequence. In assembly, because a
// guest that had to fill it would be busy with that when its client comes.
__asm__(
    ".data\n"
    ".balign 4096\n"
    ".globl words\n"
    "words:\n"
    ".set word, 1\n"
    ".rept 16384\n"
    ".set word, (word * 1103515245 + 12345) & 0xffffffff\n"
    ".long word\n"
    ".endr\n"
    ".text\n");

/// Zeros behind `words` in the same segment, so that 16 MiB from `words` on can be read as a whole.
unsigned char room[16 << 20];

#ifdef LINUX_PROCESS
int main(void) {
    guest_main();
    return 0;
}
#endif
