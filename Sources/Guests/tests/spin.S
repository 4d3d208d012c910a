// Spins with a counter in RAX and one in memory, without ever leaving the VM.

    .text
    .globl  _start
    .type   _start, @function
_start:
    xorl    %eax, %eax
    .globl  spin
spin:
    incq    %rax
    movq    %rax, spins(%rip)
    jmp     spin
    .size   _start, . - _start

    .bss
    .globl  spins
    .type   spins, @object
    .balign 8
spins:
    .skip   8
    .size   spins, 8
    .section .note.GNU-stack, "", @progbits
