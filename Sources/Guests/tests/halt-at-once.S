// Does nothing.

    .text
    .globl  _start
    .type   _start, @function
_start:
    hlt
    .size   _start, . - _start
    .section .note.GNU-stack, "", @progbits
