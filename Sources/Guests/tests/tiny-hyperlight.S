// The smallest guest for the Hyperlight ABI 0.17: "initialised, nothing to call" at once.
//
// Position independent, one relocation, and the version note that tells releases apart.

    .text
    .globl  entrypoint
    .type   entrypoint, @function
entrypoint:
    andq    $-16, %rsp              // the host wants a stack pointer that is a multiple of 16
    leaq    dispatch(%rip), %rax
    movl    $108, %edx
    outl    %eax, %dx
    cli
    hlt
    .size   entrypoint, . - entrypoint

    .globl  dispatch
    .type   dispatch, @function
dispatch:
    movl    $108, %edx
    outl    %eax, %dx
    cli
    hlt
    .size   dispatch, . - dispatch

    .section .data.entry_address, "awR", @progbits // retained although nothing refers to it
    .balign 8
    .globl  entry_address
entry_address:
    .quad   entrypoint              // R_X86_64_RELATIVE in the linked file

    // Owner, descriptor and their padding: everything starts at a multiple of 8.
    .section .note.hyperlight-version, "a", @note
    .balign 8
    .long   11, 7, 1
    .asciz  "Hyperlight"
    .balign 8
    .asciz  "0.17.0"
    .balign 8
    .section .note.GNU-stack, "", @progbits
