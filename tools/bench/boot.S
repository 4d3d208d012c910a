// The way into the loop for QEMU: from the 32-bit entry of its PVH boot protocol to 64-bit ring 0
// with the first 64 MiB identity mapped, as a bare guest of ours begins.
//
// Sources: Xen's x86/HVM direct boot ABI; Intel SDM volume 3, "Initializing IA-32e Mode".

    .set    entry_note, 18              // XEN_ELFNOTE_PHYS32_ENTRY
    .section .note.boot, "a", @note
    .balign 4
    .long   4, 8, entry_note
    .asciz  "Xen"
    .quad   boot

    .text
    .code32
    .globl  boot
boot:
    movl    $level4, %eax
    movl    %eax, %cr3
    movl    %cr4, %eax
    orl     $0x20, %eax                 // physical address extension
    movl    %eax, %cr4
    movl    $0xC0000080, %ecx           // EFER
    rdmsr
    orl     $0x100, %eax                // long mode
    wrmsr
    movl    %cr0, %eax
    orl     $0x80000000, %eax           // paging
    movl    %eax, %cr0
    lgdt    descriptor_table
    ljmp    $8, $boot_64

    .code64
boot_64:
    .cfi_startproc
    .cfi_undefined rip                  // the outermost frame: a backtrace ends here
    movl    $stack_end, %esp
    movw    $0x3F8, %dx                 // the first serial port: tells the bench that it runs
    movb    $'\n', %al
    outb    %al, %dx
    xorl    %ebp, %ebp
    call    guest_main
1:  hlt
    jmp     1b
    .cfi_endproc

    .data
    .balign 4096
level4:
    .quad   level3 + 3                  // present, writable
    .fill   511, 8
level3:
    .quad   level2 + 3
    .fill   511, 8
level2:
    .set    page, 0x83                  // and 2 MiB large
    .rept   32
    .quad   page
    .set    page, page + 0x200000
    .endr
    .fill   480, 8
segments:
    .quad   0
    .quad   0x00209A0000000000          // 64-bit code in ring 0
descriptor_table:
    .word   15
    .long   segments

    .bss
    .balign 16
    .skip   0x10000
stack_end:
    .section .note.GNU-stack, "", @progbits
