// An invalid instruction without an IDT: a triple fault.

    .text
    .globl  _start
    .type   _start, @function
_start:
    ud2
    hlt
    .size   _start, . - _start
    .section .note.GNU-stack, "", @progbits
