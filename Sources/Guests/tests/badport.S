// Writes to a port that no host action belongs to.

    .text
    .globl  _start
    .type   _start, @function
_start:
    movl    $0x1234, %edx
    movl    $0xCAFE, %eax
    outl    %eax, %dx
    hlt
    .size   _start, . - _start
    .section .note.GNU-stack, "", @progbits
