import { RAM_BASE, UART_BASE } from '../../agent/guest/embedded/memory-map.js';
import { appendRoutines, print, startProgram } from '../../agent/guest/embedded/programs/runtime.js';
import { elfFile } from './riscv-elf.js';

const LSR_DATA_READY = 0x01;

/** The ELF file of a program that prints `greeting` once and then, for ever, what is typed. */
export function echoImage(greeting: string): Uint8Array {
  const program = startProgram();
  print(program, 'greeting');
  program
    .li('s0', UART_BASE)
    .label('listen')
    .load('lbu', 't0', 5, 's0')
    .opImmediate('andi', 't0', 't0', LSR_DATA_READY)
    .branch('beq', 't0', 'zero', 'listen')
    .load('lbu', 't1', 0, 's0')
    .call('print-byte')
    .j('listen');
  appendRoutines(program);
  program.label('greeting').text(greeting);
  return elfFile(RAM_BASE, [{ address: RAM_BASE, data: program.assemble() }]);
}
