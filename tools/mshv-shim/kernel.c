// Bare system calls: the library's own functions may be the ones in interpose.c.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "shim.h"

long kernel_call(long number, long a, long b, long c, long d, long e, long f) {
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

long kernel_ioctl(int fd, unsigned long request, const void *argument) {
    return kernel_call(SYS_ioctl, fd, (long)request, (long)argument, 0, 0, 0);
}

long kernel_mmap(void *place, size_t size, int protection, int flags, int fd, off_t offset) {
    return kernel_call(SYS_mmap, (long)place, (long)size, protection, flags, fd, offset);
}

void kernel_munmap(void *place, size_t size) {
    kernel_call(SYS_munmap, (long)place, (long)size, 0, 0, 0, 0);
}

int kernel_close(int fd) { return (int)kernel_call(SYS_close, fd, 0, 0, 0, 0, 0); }

void *kernel_pages(size_t size) {
    long place =
        kernel_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return place < 0 && place > -4096 ? NULL : (void *)place;
}
