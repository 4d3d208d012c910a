// The entry point of the bare guests: calls guest_main and tells the host when it returns.
//
// The host enters here with RSP 8 below a multiple of 16, as after a call, and interrupts off.

    .section .text._start, "ax", @progbits
    .globl  _start
    .type   _start, @function
_start:
    .cfi_startproc
    .cfi_undefined rip              // the outermost frame: a backtrace ends here
    xorl    %ebp, %ebp
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    call    guest_main
    movl    $108, %edx
    xorl    %eax, %eax
    outl    %eax, %dx
1:  cli
    hlt
    jmp     1b
    .cfi_endproc
    .size   _start, . - _start
    .section .note.GNU-stack, "", @progbits
