# A guest of one sector. It increments one byte of each page of its RAM, from 1 MiB up, in order, for ever, and prints a
# line on the first serial port after each pass: 'pass 0000002a'. At any instant these bytes, read from the first page
# to the last, are n+1, n+1, ... n+1, n, n, ... n (modulo 256): a page that is older or newer than the rest shows.
#
#   as --32 --defsym top=BYTES --defsym delay=COUNT page-walker.s && ld -m elf_i386 -Ttext 0x7c00 --oformat binary
#
# top: end of RAM, at most 3 GiB less 1 MiB. delay: turns of an empty loop after each page.

        .set    first, 0x100000         # below are the BIOS, its data and this program
        .set    page, 4096
        .set    marker, 0x123           # offset of the byte in its page
        .set    serial, 0x3f8
        .set    line_status, serial + 5
        .set    transmitter_empty, 0x20

        .globl  _start
        .code16
_start:
        cli                             # for good: there are no handlers in protected mode
        ljmp    $0, $set_up             # some BIOSes jump to 07c0:0000
set_up:
        xorw    %ax, %ax
        movw    %ax, %ds
        inb     $0x92, %al              # A20 on: else every other MiB is the one before
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92
        lgdtl   descriptor_table
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $0x08, $protected

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7c00, %esp
        xorl    %ebx, %ebx              # passes done
        movl    $first, %edi
clear:
        movb    $0, marker(%edi)
        addl    $page, %edi
        cmpl    $top, %edi
        jb      clear

pass:
        movl    $first, %edi
next_page:
        incb    marker(%edi)
        movl    $delay, %ecx
        jecxz   no_delay
wait:
        decl    %ecx
        jnz     wait
no_delay:
        addl    $page, %edi
        cmpl    $top, %edi
        jb      next_page
        incl    %ebx

        movl    $text, %esi
print_text:
        lodsb
        testb   %al, %al
        jz      print_number
        call    print
        jmp     print_text
print_number:
        movl    $8, %ebp                # digits
next_digit:
        roll    $4, %ebx
        movb    %bl, %al
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     is_digit
        addb    $'a' - '0' - 10, %al
is_digit:
        call    print
        decl    %ebp
        jnz     next_digit
        movb    $'\n', %al
        call    print
        jmp     pass

print:                                  # %al, once the port takes it
        movb    %al, %ah
        movw    $line_status, %dx
busy:
        inb     %dx, %al
        testb   $transmitter_empty, %al
        jz      busy
        movb    %ah, %al
        movw    $serial, %dx
        outb    %al, %dx
        ret

text:   .asciz  "pass "

        .balign 8
descriptors:
        .quad   0
        .quad   0x00cf9a000000ffff      # code: all 4 GiB
        .quad   0x00cf92000000ffff      # data: all 4 GiB
descriptor_table:
        .word   . - descriptors - 1
        .long   descriptors

        .org    510
        .word   0xaa55                  # what the BIOS boots
