// A guest of the Hyperlight ABI 0.17 with a kernel as real ones have it, in integer instructions:
// descriptor tables, copy on write, a stack that grows, and a report on port 102 for every exception
// that it has no answer to, with the interrupted registers where real guests leave them.

    .set    allocator, 0xFFFFFFFFFFFFEFF0       // the next free page; pages go up from there
    .set    interrupt_stack, 0xFFFFFFFFFFFFEFD0
    .set    main_stack, 0xFFFFFF0000000000
    .set    scratch_offset, 0xFFFFFFEFFFFFF000  // what virtual scratch addresses have more

    .text
    .globl  entrypoint
    .type   entrypoint, @function
entrypoint:
    cld
    call    new_page                // for the tables: RAX physical, RBX virtual
    leaq    0x40(%rbx), %rcx        // the task state segment
    movabsq $0x00AF9A000000FFFF, %rax
    movq    %rax, 8(%rbx)           // 0x08: code
    movabsq $0x00CF92000000FFFF, %rax
    movq    %rax, 16(%rbx)          // 0x10: data
    movq    %rcx, %rax              // 0x18: the task, its base in three pieces
    andl    $0xFFFFFF, %eax
    shlq    $16, %rax
    movq    %rcx, %rdx
    shrq    $24, %rdx
    movzbl  %dl, %edx
    shlq    $56, %rdx
    orq     %rdx, %rax
    movabsq $0x0000890000000068, %rdx
    orq     %rdx, %rax
    movq    %rax, 24(%rbx)
    movq    %rcx, %rdx
    shrq    $32, %rdx
    movq    %rdx, 32(%rbx)
    movq    $interrupt_stack, %rax
    movq    %rax, 0x24(%rcx)        // interrupt stack 1

    leaq    0x400(%rbx), %rdi       // the interrupt table
    leaq    stubs(%rip), %rdx
    movl    $32, %ecx
1:  movq    %rdx, %rax
    andl    $0xFFFF, %eax
    movabsq $0x00008E0100080000, %rsi   // present, interrupt gate, stack 1, selector 8
    orq     %rsi, %rax
    movq    %rdx, %rsi
    shrq    $16, %rsi
    andl    $0xFFFF, %esi
    shlq    $48, %rsi
    orq     %rsi, %rax
    movq    %rax, (%rdi)
    movq    %rdx, %rsi
    shrq    $32, %rsi
    movq    %rsi, 8(%rdi)
    addq    $16, %rdi
    addq    $16, %rdx
    decl    %ecx
    jnz     1b

    subq    $16, %rsp
    movw    $39, 6(%rsp)
    movq    %rbx, 8(%rsp)
    lgdt    6(%rsp)
    leaq    0x400(%rbx), %rax
    movw    $511, 6(%rsp)
    movq    %rax, 8(%rsp)
    lidt    6(%rsp)
    pushq   $8
    leaq    2f(%rip), %rax
    pushq   %rax
    lretq
2:  movl    $0x10, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    $0x18, %eax
    ltr     %ax
    movabsq $main_stack, %rsp
    jmp     main
    .size   entrypoint, . - entrypoint

// The next free page of scratch memory, which is zero: RAX physical, RBX virtual.
new_page:
    movl    $4096, %eax
    movq    $allocator, %rbx
    lock xaddq %rax, (%rbx)
    movabsq $scratch_offset, %rbx
    addq    %rax, %rbx
    ret

// One stub a vector, sixteen bytes each: an error code where the CPU gives none, and the vector.
    .balign 16
stubs:
    .set    vector, 0
    .rept   32
    .balign 16
    .if     vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
    .else
    pushq   $0
    .endif
    pushq   $vector
    jmp     exception
    .set    vector, vector + 1
    .endr

    .balign 16
    .globl  exception
exception:
    pushq   %rax
    pushq   %rbx
    pushq   %rcx
    pushq   %rdx
    pushq   %rsi
    pushq   %rdi
    pushq   %rbp
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    subq    $512, %rsp
    fxsave  (%rsp)
    xorl    %eax, %eax
    movw    %es, %ax
    pushq   %rax
    movw    %fs, %ax
    pushq   %rax
    movw    %gs, %ax
    pushq   %rax
    movw    %ds, %ax
    pushq   %rax
    movq    0x298(%rsp), %rdi       // the vector
    cmpl    $14, %edi
    jne     report
    movq    %cr2, %rsi
    call    repair
    testl   %eax, %eax
    jz      report
    addq    $32, %rsp
    fxrstor (%rsp)
    addq    $512, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rbp
    popq    %rdi
    popq    %rsi
    popq    %rdx
    popq    %rcx
    popq    %rbx
    popq    %rax
    addq    $16, %rsp
    iretq

// Reports the vector and stops.
report:
    movq    0x298(%rsp), %rax
    shll    $16, %eax
    orl     $0x0F02, %eax
    movl    $102, %edx
    outl    %eax, %dx
    .globl  reporting
reporting:
    movl    $0x6F6F7403, %eax       // "too"
    outl    %eax, %dx
    movl    $0x64616203, %eax       // "bad"
    outl    %eax, %dx
    movl    $0xFF01, %eax
    outl    %eax, %dx
    cli
    hlt

// Answers the page fault at RSI: EAX is 1 when there is memory now that may be written.
repair:
    movq    %cr3, %rdi
    movl    $39, %ecx
1:  movabsq $scratch_offset, %rax
    addq    %rax, %rdi              // the table as a virtual address
    movq    %rsi, %rax
    shrq    %cl, %rax
    andl    $511, %eax
    leaq    (%rdi,%rax,8), %rdi     // the entry
    cmpl    $12, %ecx
    je      leaf
    movq    (%rdi), %rdx
    testl   $1, %edx
    jnz     2f
    call    in_stack
    jc      refuse
    call    new_page
    leaq    0x23(%rax), %rdx
    movq    %rdx, (%rdi)
2:  movq    %rdx, %rdi
    movabsq $0x000FFFFFFFFFF000, %rax
    andq    %rax, %rdi
    subl    $9, %ecx
    jmp     1b
leaf:
    movq    (%rdi), %rdx
    testl   $1, %edx
    jz      3f
    testl   $0x200, %edx
    jz      refuse
    call    new_page                // copy on write
    movq    %rdi, %r8
    movq    %rbx, %rdi
    movq    %rsi, %r9
    andq    $-4096, %rsi
    movl    $512, %ecx
    rep movsq
    movq    %r9, %rsi
    movq    %r8, %rdi
    orq     $0x63, %rax
    shrq    $63, %rdx               // executable or not, as it was
    shlq    $63, %rdx
    orq     %rdx, %rax
    jmp     4f
3:  call    in_stack
    jc      refuse
    call    new_page
    orq     $0x63, %rax
4:  movq    %rax, (%rdi)
    invlpg  (%rsi)
    movl    $1, %eax
    ret
refuse:
    xorl    %eax, %eax
    ret

// Carry is set unless RSI lies in the main stack, which may take 64 KiB here.
in_stack:
    movabsq $main_stack, %rax
    subq    %rsi, %rax
    cmpq    $0x10000, %rax
    cmc
    ret

    .globl  main
    .type   main, @function
main:
    pushq   $7                      // the first page of the stack
    .globl  pushed
pushed:
    movl    $1, %eax
    .globl  store
store:
    movq    %rax, data(%rip)        // a page of data
    .globl  stored
stored:
    incq    in_code(%rip)           // this page itself
    .globl  copied
copied:
    movl    $64, %ecx
    .globl  again
again:
    incl    %eax
    .globl  looped
looped:
    decl    %ecx
    jnz     again
    popq    %rbx
    movl    $102, %edx              // a word that begins nothing
    xorl    %eax, %eax
    .globl  out
out:
    outl    %eax, %dx
    .globl  after_out
after_out:
    leaq    dispatch(%rip), %rax
    movl    $108, %edx
    outl    %eax, %dx
    cli
    hlt
// No size: gdb would show every place as one of `main`, and not by its own name.

    .globl  dispatch
dispatch:
    movl    $108, %edx
    outl    %eax, %dx
    cli
    hlt

// Where a debugger may send it to its end.
    .globl  undefined
undefined:
    ud2
    .globl  null_store
null_store:
    movq    %rcx, 0
    .globl  divide
divide:
    divq    %rcx
    .globl  far_jump
far_jump:
    jmp     *%rcx
    .globl  panic
panic:
    movl    $102, %edx
    movl    $0x0801, %eax
    outl    %eax, %dx
    movl    $0x21686F03, %eax       // "oh!"
    outl    %eax, %dx
    movl    $0xFF01, %eax
    outl    %eax, %dx
    hlt
    .balign 8
    .globl  in_code
in_code:
    .quad   0

    .data
    .balign 4096
    .globl  data
data:
    .quad   0

    .section .data.entry_address, "awR", @progbits // retained although nothing refers to it
    .balign 8
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
