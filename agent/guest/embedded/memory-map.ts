/**
 * Where things are in the physical address space: QEMU's virt board, as far as this machine goes
 * (QEMU, hw/riscv/virt.c, virt_memmap).
 */
export const FINISHER_BASE = 0x0010_0000;
export const CLINT_BASE = 0x0200_0000;
export const UART_BASE = 0x1000_0000;
/** The first byte of RAM. */
export const RAM_BASE = 0x8000_0000;
