import { Assembler } from '../assembler.js';
import { CLINT_BASE, FINISHER_BASE, RAM_BASE, UART_BASE } from '../memory-map.js';

/** Ticks of mtime in a millisecond: the virt board's clock has 10 MHz. */
export const TICKS_PER_MILLISECOND = 10_000;

const MTIMECMP = CLINT_BASE + 0x4000;
const MTIME = CLINT_BASE + 0xbff8;
const LSR_TRANSMIT_EMPTY = 0x20;
const FINISHER_PASS = 0x5555;
const FINISHER_FAIL = 0x3333;

/**
 * An assembler with what every program begins with: traps that nobody expects end the machine with exit code 1
 * and a line that names them. The program follows; appendRoutines() comes last.
 */
export function startProgram(): Assembler {
  return new Assembler(RAM_BASE).la('t0', 'unexpected-trap').csr('csrrw', 'zero', 'mtvec', 't0');
}

/** Ends the machine, "pass". Does not return. */
export function exitWithPass(program: Assembler): void {
  program.li('t0', FINISHER_BASE).li('t1', FINISHER_PASS).store('sw', 't1', 0, 't0');
  const self = `passed-${program.here}`;
  program.label(self).j(self);
}

/** Prints `text`. Changes a0, t0 to t2, ra. */
export function print(program: Assembler, label: string): void {
  program.la('a0', label).call('print-text');
}

/**
 * Sets the timer `ticks` (a constant below 2^31) from now and lets it wake wfi; interrupts as such stay off.
 * Keeps the deadline in s10 (low) and s11 (high). Changes t0 to t2.
 */
export function startTimer(program: Assembler, ticks: number): void {
  const again = `read-time-${program.here}`;
  // The high word is read twice, in case the low one carries into it in between.
  program
    .li('t0', MTIME)
    .label(again)
    .load('lw', 's11', 4, 't0')
    .load('lw', 's10', 0, 't0')
    .load('lw', 't1', 4, 't0')
    .branch('bne', 't1', 's11', again);
  advanceTimer(program, ticks);
  program.li('t0', 1 << 7).csr('csrrs', 'zero', 'mie', 't0');
}

/** Moves the deadline in s10 and s11 on by `ticks` and sets the timer to it. Changes t0, t1. */
export function advanceTimer(program: Assembler, ticks: number): void {
  program
    .li('t0', ticks)
    .op('add', 's10', 's10', 't0')
    .op('sltu', 't1', 's10', 't0')
    .op('add', 's11', 's11', 't1')
    // All ones in the low word first: the deadline is never earlier than meant while it is written in halves.
    .li('t0', MTIMECMP)
    .li('t1', -1)
    .store('sw', 't1', 0, 't0')
    .store('sw', 's11', 4, 't0')
    .store('sw', 's10', 0, 't0');
}

/** Waits until the timer's deadline has come. Changes t0, t1. */
export function waitForTimer(program: Assembler): void {
  const again = `wait-${program.here}`;
  program
    .label(again)
    .plain('wfi')
    .csr('csrrs', 't0', 'mip', 'zero')
    .opImmediate('andi', 't0', 't0', 1 << 7)
    .branch('beq', 't0', 'zero', again);
}

/**
 * The routines that programs call, each changing a0, t0 to t5 and ra alone:
 * print-text (a0: address, ends with a zero byte), print-hex (a0), print-decimal (a0, unsigned).
 */
export function appendRoutines(program: Assembler): void {
  program
    .label('print-text')
    .load('lbu', 't1', 0, 'a0')
    .branch('beq', 't1', 'zero', 'print-done')
    .opImmediate('addi', 'a0', 'a0', 1)
    .mv('t5', 'ra')
    .call('print-byte')
    .mv('ra', 't5')
    .j('print-text')
    .label('print-done')
    .ret();

  // Prints the byte in t1; changes t0 and t2.
  program
    .label('print-byte')
    .li('t0', UART_BASE)
    .label('print-wait')
    .load('lbu', 't2', 5, 't0')
    .opImmediate('andi', 't2', 't2', LSR_TRANSMIT_EMPTY)
    .branch('beq', 't2', 'zero', 'print-wait')
    .store('sb', 't1', 0, 't0')
    .ret();

  program
    .label('print-hex')
    .mv('t5', 'ra')
    .li('t3', 28)
    .label('hex-digit')
    .op('srl', 't1', 'a0', 't3')
    .opImmediate('andi', 't1', 't1', 15)
    .opImmediate('sltiu', 't2', 't1', 10)
    .branch('bne', 't2', 'zero', 'hex-print')
    .opImmediate('addi', 't1', 't1', 'a'.charCodeAt(0) - 10 - '0'.charCodeAt(0))
    .label('hex-print')
    .opImmediate('addi', 't1', 't1', '0'.charCodeAt(0))
    .call('print-byte')
    .opImmediate('addi', 't3', 't3', -4)
    .branch('bge', 't3', 'zero', 'hex-digit')
    .jalr('zero', 0, 't5');

  program
    .label('print-decimal')
    .mv('t5', 'ra')
    .li('t3', 1_000_000_000)
    .li('t4', 10)
    .label('decimal-skip')
    .branch('bgeu', 'a0', 't3', 'decimal-digit')
    .branch('bltu', 't3', 't4', 'decimal-digit')
    .op('divu', 't3', 't3', 't4')
    .j('decimal-skip')
    .label('decimal-digit')
    .op('divu', 't1', 'a0', 't3')
    .op('remu', 'a0', 'a0', 't3')
    .opImmediate('addi', 't1', 't1', '0'.charCodeAt(0))
    .call('print-byte')
    .op('divu', 't3', 't3', 't4')
    .branch('bne', 't3', 'zero', 'decimal-digit')
    .jalr('zero', 0, 't5');

  program
    .align(4)
    .label('unexpected-trap')
    .la('a0', 'text-trap')
    .call('print-text')
    .csr('csrrs', 'a0', 'mcause', 'zero')
    .call('print-hex')
    .la('a0', 'text-at')
    .call('print-text')
    .csr('csrrs', 'a0', 'mepc', 'zero')
    .call('print-hex')
    .la('a0', 'text-newline')
    .call('print-text')
    .li('t0', FINISHER_BASE)
    .li('t1', (1 << 16) | FINISHER_FAIL)
    .store('sw', 't1', 0, 't0')
    .label('failed')
    .j('failed');

  program
    .label('text-trap')
    .text('unexpected trap ')
    .label('text-at')
    .text(' at ')
    .label('text-newline')
    .text('\n');
}
