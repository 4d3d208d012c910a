// Stores to an address that nothing is mapped at, without an IDT: a triple fault.

    .text
    .globl  _start
    .type   _start, @function
_start:
    movabsq $0x7000000000, %rbx
    .globl  faulting_store
faulting_store:
    movq    $1, (%rbx)
    hlt
    .size   _start, . - _start
    .section .note.GNU-stack, "", @progbits
