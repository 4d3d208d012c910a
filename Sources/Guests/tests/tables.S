// Makes every free entry of its top page table point at that table, except the last one, which it
// changes to something random again and again, together with its stack pointer.

    .text
    .globl  _start
    .type   _start, @function
_start:
    movq    %cr3, %rdi              // the tables are mapped where they lie
    movl    $1, %ecx
1:  cmpq    $0, (%rdi,%rcx,8)
    jne     2f
    leaq    3(%rdi), %rax           // present, writable
    movq    %rax, (%rdi,%rcx,8)
2:  incl    %ecx
    cmpl    $512, %ecx
    jne     1b
    movabsq $0x9E3779B97F4A7C15, %rax
    .globl  change
change:
    movq    %rax, %rdx              // xorshift
    shlq    $13, %rdx
    xorq    %rdx, %rax
    movq    %rax, %rdx
    shrq    $7, %rdx
    xorq    %rdx, %rax
    movq    %rax, %rdx
    shlq    $17, %rdx
    xorq    %rdx, %rax
    movq    %rax, 4088(%rdi)
    movq    %rax, %rsp
    incq    changes(%rip)
    jmp     change
    .size   _start, . - _start

    .bss
    .globl  changes
    .type   changes, @object
    .balign 8
changes:
    .skip   8
    .size   changes, 8
    .section .note.GNU-stack, "", @progbits
